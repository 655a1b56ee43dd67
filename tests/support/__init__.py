"""What tests of every package share: real processes, free ports, waiting with a deadline."""
