"""Runs in the worker: starts model hosts, sends them batches, and watches their memory."""
