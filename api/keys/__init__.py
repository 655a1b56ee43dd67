"""API keys: makes, lists and revokes them over HTTP."""
