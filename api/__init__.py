"""The HTTP API: validate, enqueue, read state, translate errors.

`api.client` calls it from Python, `api.cli` from a shell; neither imports Flask. Nothing here loads numpy, a machine
learning library or the serving engine.
"""
