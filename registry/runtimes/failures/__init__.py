"""Failures of models as texts: short, safe, and without values or folders of this machine."""
