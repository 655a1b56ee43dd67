"""The operators' console at /console: pages over the functions that the HTTP routes call."""
