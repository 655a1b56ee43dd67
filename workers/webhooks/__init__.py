"""Telling the ends of jobs to whoever asked for it, over HTTP, signed as Standard Webhooks has it.

`outbox` notes what is to be told in the script that ends a job; `notifier` is the process that tells it.
"""
