"""Judging versions: evaluations, shadows and rollouts."""
