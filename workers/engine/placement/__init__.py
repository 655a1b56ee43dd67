"""Decides which workers of a group serve a deployment with a range of hosts; each worker decides for itself."""
