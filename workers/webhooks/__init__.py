"""Webhooks: signed HTTP requests that report the ends of jobs, in the form of Standard Webhooks.

The script that ends a job records its delivery (`workers.jobs.endings.outbox`); the background process sends it.
"""
