"""Sums of pairs of answers, each for one part of the report."""
