"""Model hosts: child processes that each hold one model version and only predict.

`host_side` runs in these processes, `worker_side` in the worker.
"""
