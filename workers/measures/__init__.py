"""Reports and measurements of workers: counters, pace, positions of queued jobs."""
