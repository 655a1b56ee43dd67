"""Commands about evaluations of candidates."""
