"""The Celery app, the queue contract, job records, and the serving engine.

What other programs import (`app`, `tasks`, `jobs`, `queues`, `deployments`) is light: it loads no numpy, no Flask and
no engine. `workers.engine` runs in a worker process alone, `workers.hosts` in the processes that hold a model.
"""
