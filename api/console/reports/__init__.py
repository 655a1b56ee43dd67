"""Reports of comparisons as parts of the console's pages."""
