"""Evaluations over HTTP: replays an endpoint's jobs on a candidate version, and shows the report."""
