"""What one API process holds for all requests: connections, settings, a cache, and slots."""
