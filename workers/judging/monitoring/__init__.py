"""Figures of the jobs in the journal: how good answers are, by feedback, and how inputs and answers drift."""
