"""Sends messages to the broker and asks it how long its queues are."""
