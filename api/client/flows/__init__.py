"""Flows: what each call of the client sends, in which order, without sending it."""
