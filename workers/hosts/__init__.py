"""Model hosts: child processes that each hold one model version and do nothing but predict.

`forkserver` and `host` run in those processes, `launcher` and `remote` are the worker's side.
"""
