"""How the answers of two versions to the same jobs compare: sums, their report, and its verdict."""
