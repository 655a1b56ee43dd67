"""The service under test: its processes, its environment, and one that many tests share."""
