"""What a model host does: load one model, show that it works, then predict batch after batch."""

from __future__ import annotations

import faulthandler
import logging
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from registry.output_columns import OutputDescription, description_of
from registry.runtimes.protocol import Model
from workers import logs
from workers.hosts import failures, frames, surroundings
from workers.hosts.predicting import Predictor

#: An example that took longer is not predicted a second time.
_QUICK_S = 0.25
_log = logging.getLogger("queuecast.host")
_TEXT = "[%(asctime)s: %(levelname)s/host %(process)d] %(message)s"


def serve(channel: socket.socket) -> None:
    """Answer the worker's frames until it closes the channel."""
    _prepare()
    _make_forks_ordinary(channel)
    try:
        predictor = _load(channel, frames.receive(channel))
        while predictor is not None:
            request = frames.receive(channel)
            channel.sendall(predictor.answer(request["number"], request["rows"], request["max_batch_size"]))
    except (EOFError, ConnectionError):
        return


def _prepare() -> None:
    sys.stdout, sys.stderr = surroundings.open_output(1), surroundings.open_output(2)
    logging.raiseExceptions = False  # a log that can't be written stops no prediction
    logging.basicConfig(
        format=_TEXT,
        level=logging.INFO,
        stream=surroundings.open_output(),
    )
    faulthandler.enable()
    # A core file of a big model would keep its successor waiting.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # or each host would draw the same numbers


def _log_as_asked(request: dict[str, Any]) -> None:
    """Give log lines the form that the worker's have; settings of its own a host has none."""
    logs.begin(endpoint_name=request["endpoint_name"] or None)
    logs.set_form(logs.LogFormat(request["log_format"]), "host", _TEXT)


def _make_forks_ordinary(channel: socket.socket) -> None:
    """Let the children that the model forks be ended by signals, and know nothing of the worker's channel."""
    ours = (signal.SIGTERM, signal.SIGINT)

    def in_child() -> None:
        channel.close()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        unblock()

    def block() -> None:  # what comes before the child has its own handlers waits
        signal.pthread_sigmask(signal.SIG_BLOCK, ours)

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ours)

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=in_child)


def _load(channel: socket.socket, request: dict[str, Any]) -> Predictor | None:
    """Load and warm up; tell the worker how it went, and return who predicts, or None."""
    from registry.errors import RegistryError

    _log_as_asked(request)
    began, pid = time.perf_counter(), os.getpid()
    predictor: Predictor | None = None
    try:
        model = _loaded(request)
        outputs, example_ms = _warm(model, request["input_example"])
        predictor = Predictor(model)
        load_ms = round((time.perf_counter() - began) * 1000, 1)
        answer: dict[str, Any] = {"ready": {"load_ms": load_ms, "outputs": outputs, "example_ms": example_ms}}
    except BaseException as error:  # noqa: BLE001 - whatever a model's code raises is an answer, also SystemExit
        _log.error("the model can't be loaded\n%s", failures.trace(error))
        flat = failures.flat(error)
        known = isinstance(error, RegistryError)
        answer = {
            "failed": flat["message"] if known else f"The model can't be loaded: {flat['type']}: {flat['message']}"
        }
    if os.getpid() != pid:
        os._exit(0)  # a child that the model forked and let return
    channel.sendall(frames.encode({"number": request["number"], **answer}))
    return predictor


def _loaded(request: dict[str, Any]) -> Model:
    from registry import runtimes
    from registry.signature import Signature

    signature = Signature.model_validate(request["signature"])
    return runtimes.load(request["runtime"], Path(request["path"]), request["runtime_options"], signature)


def _warm(model: Model, input_example: Any) -> tuple[list[OutputDescription] | None, float | None]:
    """Predict the example; return what its answer shows of the model's outputs, and how long it took (ms).

    The first prediction of many models is slow, and no client shall pay for it; nor is it what others will take, so a
    quick one is made twice.
    """
    from registry.errors import ModelLoadFailed, RegistryError

    if input_example is None:
        return None, None
    try:
        answers, took_s = _timed(model, input_example)
        if took_s < _QUICK_S:
            answers, took_s = _timed(model, input_example)
    except RegistryError:
        raise
    except BaseException as error:
        flat = failures.flat(error)
        raise ModelLoadFailed(f"The model fails on its input example: {flat['type']}: {flat['message']}") from error
    return _described(answers), round(took_s * 1000, 3)


def _timed(model: Model, input_example: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    answers = model.predict([input_example])
    return answers, time.perf_counter() - began


def _described(answers: Any) -> list[OutputDescription] | None:
    from registry.runtimes.outputs import rows_to_json

    try:
        [answer] = rows_to_json(answers, 1)
        return description_of(answer)
    except BaseException:  # noqa: BLE001 - as its predictions will say; reading them may call code of the model's classes
        return None
