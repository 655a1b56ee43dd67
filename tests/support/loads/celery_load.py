"""Submits jobs with `predict.apply_async` until its standard input ends, and prints the id of each that is accepted.

A program of its own: `python -m tests.support.loads.celery_load ENDPOINT`. Its rows are "c0", "c1", …
"""

from __future__ import annotations

import select
import sys
import time

from workers.errors import JobUnconfirmed, QueueUnavailable
from workers.tasks import predict

_PAUSE_S = 0.005


def main() -> None:
    """Submit until the input ends; what is not confirmed is sent again under its id."""
    endpoint_name, number, task_id = sys.argv[1], 0, None
    while not select.select([sys.stdin], [], [], _PAUSE_S)[0]:
        row = f"c{number}"
        try:
            accepted = predict.apply_async((endpoint_name, row), task_id=task_id)
        except JobUnconfirmed as error:
            task_id = error.job_id
        except QueueUnavailable:
            time.sleep(_PAUSE_S)
        else:
            print(accepted.id, row, flush=True)
            number, task_id = number + 1, None


if __name__ == "__main__":
    main()
