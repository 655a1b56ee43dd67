"""Jobs on an event loop: submits, reads and waits of many callers share their round trips to Redis."""
