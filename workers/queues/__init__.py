"""Names of queues and tasks, priorities, and the envelope that kombu puts around a message."""
