"""Work on a whole registry and its artifacts: backups, copies to another database, pruning."""
