"""What this service changes in Celery itself: its result backends and its command line."""
