"""Imports MLflow model folders; loads neither MLflow nor a model."""
