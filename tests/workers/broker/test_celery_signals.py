"""Two signals in a row, to a worker of Celery."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.support.service.environment import REPOSITORY, clean_environment

#: Sends a second SIGTERM at the moment when Celery's handler of the first one holds the lock.
_TWO_SIGNALS = """
import signal
from celery import signals
from celery.apps.worker import _shutdown_handler
from workers.broker.celery_signals import let_signals_interrupt_each_other

let_signals_interrupt_each_other()
lock, handled = signals.worker_shutting_down.lock, []

class Interrupted:
    def __enter__(self):
        lock.__enter__()
        if not handled:
            handled.append("first")
            signal.raise_signal(signal.SIGTERM)
    def __exit__(self, *error):
        lock.__exit__(*error)

signals.worker_shutting_down.connect(lambda how, **_: handled.append(how), weak=False)
signals.worker_shutting_down.lock = Interrupted()
class Worker:
    hostname = "worker@here"
_shutdown_handler(Worker())
signal.alarm(20)
signal.raise_signal(signal.SIGTERM)
print(handled)
"""


def test_a_second_signal_is_handled_while_the_first_one_is() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TWO_SIGNALS],
        env=clean_environment(), cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != -signal.SIGALRM, "the second signal waits for the lock of the first"
    assert done.stdout.splitlines()[-1] == "['first', 'Warm', 'Warm']", done.stderr
