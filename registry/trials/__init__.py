"""Candidates beside deployments, and the trials that judge them."""
