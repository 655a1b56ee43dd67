"""Jobs: shows, awaits, streams, lists and cancels them, and handles those that were given up."""
