"""The main loop of a model host: load one model, predict its example, then predict batch after batch."""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import resource
import signal
import socket
import sys
import time
from typing import Any

from registry.hosting import loading
from registry.runtimes.failures import exceptions
from registry.runtimes.protocol import Model
from registry.signatures.output_columns import OutputDescription, description_of
from workers.hosts import frames
from workers.hosts.host_side import sandbox
from workers.hosts.host_side.predictor import Predictor
from workers.platform import logs
from workers.platform.process_title import set_title

#: A slower example is not predicted a second time.
_QUICK_EXAMPLE_S = 0.25
_log = logging.getLogger("queuecast.host")
_TEXT = "[%(asctime)s: %(levelname)s/host %(process)d] %(message)s"


def serve(channel: socket.socket) -> None:
    """Answer the worker's frames until it closes the channel."""
    _prepare()
    _reset_forks(channel)
    try:
        predictor = _load(channel, json.loads(frames.receive(channel)))
        while predictor is not None:
            channel.sendall(predictor.answer(frames.receive(channel)))
    except (EOFError, ConnectionError):
        return


def _prepare() -> None:
    sys.stdout, sys.stderr = sandbox.open_output(1), sandbox.open_output(2)
    logging.raiseExceptions = False  # an unwritable log must not stop predictions
    logging.basicConfig(
        format=_TEXT,
        level=logging.INFO,
        stream=sandbox.open_output(),
    )
    faulthandler.enable()
    # Writing a core file of a large model would delay the next host.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # otherwise all hosts draw the same numbers


def _configure_logging(request: dict[str, Any]) -> None:
    """Use the worker's log format; a host has no settings of its own."""
    logs.begin(endpoint_name=request["endpoint_name"] or None)
    logs.set_form(request["log_format"], "host", _TEXT)


def _reset_forks(channel: socket.socket) -> None:
    """Give children that the model forks the default signal handlers, and close the worker's channel in them."""
    ours = (signal.SIGTERM, signal.SIGINT)

    def in_child() -> None:
        channel.close()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        unblock()

    def block() -> None:  # until the child has its own handlers
        signal.pthread_sigmask(signal.SIG_BLOCK, ours)

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ours)

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=in_child)


def _load(channel: socket.socket, request: dict[str, Any]) -> Predictor | None:
    """Load and warm up; send the result to the worker, and return the predictor, or None."""
    from registry.errors import RegistryError

    _configure_logging(request)
    if request["title"]:
        set_title(request["title"])
    began, pid = time.perf_counter(), os.getpid()
    predictor: Predictor | None = None
    try:
        with loading.version_warnings() as warnings:
            model = loading.load(request["path"], request["runtime"], request["runtime_options"], request["signature"])
        outputs, example_ms = _warm(model, request["input_example"])
        predictor = Predictor(model)
        load_ms = round((time.perf_counter() - began) * 1000, 1)
        ready = {"load_ms": load_ms, "outputs": outputs, "example_ms": example_ms, "warnings": warnings}
        answer: dict[str, Any] = {"ready": ready}
    except BaseException as error:  # noqa: BLE001 - any error of a model's code is an answer, also SystemExit
        _log.error("the model can't be loaded\n%s", exceptions.with_traceback(error))
        flat = exceptions.type_and_message(error)
        known = isinstance(error, RegistryError)
        answer = {
            "failed": flat["message"] if known else f"The model can't be loaded: {flat['type']}: {flat['message']}"
        }
    if os.getpid() != pid:
        os._exit(0)  # a child that the model has forked
    channel.sendall(frames.encode({"number": request["number"], **answer}))
    return predictor


def _warm(model: Model, input_example: Any) -> tuple[list[OutputDescription] | None, float | None]:
    """Predict the example; return a description of the model's outputs, and the duration (ms).

    The first prediction of many models is slow. So clients don't wait for it, and a quick one is repeated to measure
    the usual duration.
    """
    if input_example is None:
        return None, None
    answers, took_s = loading.predict_example(model, input_example)
    if took_s < _QUICK_EXAMPLE_S:
        answers, took_s = loading.predict_example(model, input_example)
    return _described(answers), round(took_s * 1000, 3)


def _described(answers: Any) -> list[OutputDescription] | None:
    from registry.runtimes.outputs import rows_to_json

    try:
        [answer] = rows_to_json(answers, 1)
        return description_of(answer)
    except BaseException:  # noqa: BLE001 - predictions will report it; reading outputs may call the model's code
        return None
