"""Predictions: submits jobs to endpoints and models, and answers with the outcome or the job."""
