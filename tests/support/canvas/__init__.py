"""Canvases that run on a stock Celery worker and on ours, to be compared."""
