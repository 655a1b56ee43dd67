"""The HTTP side of the Flask app: its requests, responses, errors and records. The event loop does without it."""
