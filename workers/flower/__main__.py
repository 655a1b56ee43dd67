"""`python -m workers.flower`."""

import sys

from workers.flower.launch import main

if __name__ == "__main__":
    sys.exit(main())
