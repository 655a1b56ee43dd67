"""The engine's connection to Celery: bootstep, message strategy, remote control."""
