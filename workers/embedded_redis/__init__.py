"""The Redis server that Queuecast starts by default, and its snapshots."""
