"""`make soak`: a running service is broken at random, and every job that it accepted is audited."""
