"""Connections to Redis, blocking and on an event loop, and limits of rates that it keeps."""
