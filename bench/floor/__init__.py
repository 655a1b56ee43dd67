"""The least that a queue of predictions costs in Python: a bare loop on redis-py, with no promise kept."""
