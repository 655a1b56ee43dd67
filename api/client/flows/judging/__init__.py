"""The journal, evaluations, shadows and rollouts."""
