"""Signatures of models: what an input and an output look like, and the check of inputs."""
