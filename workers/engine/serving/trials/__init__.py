"""A trial of a candidate: its counts, its copies of ended jobs, and what a batch does when it fails there."""
