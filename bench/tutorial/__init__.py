"""The baseline: Flask and Celery put together as their tutorials do."""
