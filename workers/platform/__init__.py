"""What every program needs and no feature owns: Redis clients, JSON, logs, text, child processes."""
