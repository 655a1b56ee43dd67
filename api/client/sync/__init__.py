"""The client that blocks, a module for each group of its calls."""
