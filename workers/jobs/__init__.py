"""Jobs from submit to end: their records, their messages and their state changes."""
