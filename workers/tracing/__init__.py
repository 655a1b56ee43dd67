"""Traces: W3C headers, and spans with OpenTelemetry if it is installed."""
