"""The peer: MLServer with adaptive batching, which answers at once and has no queue."""
