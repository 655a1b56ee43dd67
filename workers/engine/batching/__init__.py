"""Collects waiting jobs into batches: batch size, delay, priorities."""
