"""`python -m api.cli`: the same as `queuecast`."""

from api.cli import main

main()
