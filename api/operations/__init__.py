"""The service itself: health, metrics, and the documentation of its API."""
