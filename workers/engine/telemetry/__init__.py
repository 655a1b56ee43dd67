"""Reports on a worker's batches: metrics, Celery events."""
