"""Pages of jobs: the recent ones, what failed, webhooks, and trying an endpoint."""
