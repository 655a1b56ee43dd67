"""The serving engine: loaded in a worker process only.

Celery's event loop keeps what is Celery's (remote control, heartbeats, events); the engine runs beside
it on an event loop of its own, in one thread, and takes the jobs of its endpoints' queues by itself.
"""
