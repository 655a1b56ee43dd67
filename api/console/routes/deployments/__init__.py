"""Pages of deployments: what they are, their changes and history, and their queues."""
