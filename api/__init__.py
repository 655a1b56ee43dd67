"""The HTTP API: validate, enqueue, read state, translate errors.

`api.cli` is the command line over it and imports no Flask. Nothing here loads numpy, a machine
learning library or the serving engine.
"""
