"""One batch of jobs on one host: its claim, its prediction and its outcomes."""
