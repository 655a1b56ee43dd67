"""The files of the journal: written by one process at a time, merged, deleted, forgotten in."""
