"""The operator's console at /console: pages over the same functions that the HTTP routes call."""
