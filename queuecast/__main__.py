"""`python -m queuecast`: the same as `queuecast`."""

from queuecast.command import main

if __name__ == "__main__":
    main()
