"""Serves an endpoint: hosts, batches, claims, endings of jobs."""
