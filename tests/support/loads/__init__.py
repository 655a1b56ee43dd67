"""Load over HTTP and Celery that never stops while faults are injected."""
