"""`python -m workers.embedded_redis`."""

import sys

from workers.embedded_redis.server import main

if __name__ == "__main__":
    sys.exit(main())
