"""Intervals, tests, distributions and samples, without numpy."""
