"""Environments: a Python and a locked set of packages that a version runs in; locked here, built where workers run."""
