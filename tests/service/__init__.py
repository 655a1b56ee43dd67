"""The whole service from outside: HTTP, Celery, Flower and the command line, nothing of its inside."""
