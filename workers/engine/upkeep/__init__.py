"""Periodic work of a worker: resends lost jobs, expires late ones, recounts bytes."""
