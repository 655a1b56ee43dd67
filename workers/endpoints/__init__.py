"""Which endpoints take jobs, for programs that don't read the registry; and the end of jobs for none."""
