"""Evaluations: replays of jobs on a candidate version, and their reports."""
