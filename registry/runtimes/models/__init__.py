"""Loaded models that answer rows: what runtimes of one family share."""
