"""Artifacts of model versions: the store, verified local copies, archives."""
