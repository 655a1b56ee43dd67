"""The journal of a deployment over HTTP: export, feedback, quality."""
