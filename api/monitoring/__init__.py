"""How good a deployment's answers are, by feedback, and how its inputs and answers drift."""
