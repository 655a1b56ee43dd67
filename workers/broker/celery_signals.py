"""Celery's handlers of signals, made safe against a second signal."""

from __future__ import annotations

import threading

from celery import signals


def let_signals_interrupt_each_other() -> None:
    """Let a second SIGTERM be handled while the first one is; call it before the worker can get any.

    Celery's handler takes this lock, which is no reentrant one: a signal that arrives meanwhile would wait for ever, on
    the only thread that can release it.
    """
    signals.worker_shutting_down.lock = threading.RLock()
