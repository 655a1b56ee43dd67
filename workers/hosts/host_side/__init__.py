"""Runs in the process of a model host: loads the model and predicts."""
