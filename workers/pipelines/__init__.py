"""Pipelines: linear chains of deployments as one job. Each step is a job of its own; the pipeline is their parent."""
