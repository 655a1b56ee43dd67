"""The serving engine, which only worker processes load.

Celery's event loop handles remote control, heartbeats and events. The engine runs beside it on its own event loop, in
one thread, and fetches the jobs of its endpoints' queues itself.
"""
