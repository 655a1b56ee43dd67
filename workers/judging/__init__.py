"""Judging versions: how the answers of two versions compare, and the duties that find out."""
