"""Commands that work on this machine, next to the database and the processes."""
