"""The background process: webhooks, and what else has to be done beside the jobs."""
