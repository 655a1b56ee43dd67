"""Shadows and rollouts of candidate versions."""
