"""What a model host does: load one model, show that it works, then predict batch after batch."""

from __future__ import annotations

import logging
import resource
import socket
import sys
import time
from pathlib import Path
from typing import Any

from workers.hosts import frames

_log = logging.getLogger("queuecast.host")
_MESSAGE_LIMIT = 2_000
#: ru_maxrss counts kibibytes on Linux and bytes on macOS.
_MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def serve(channel: socket.socket) -> None:
    """Answer the worker's frames until it closes the channel."""
    logging.basicConfig(format="[%(asctime)s: %(levelname)s/host %(process)d] %(message)s", level=logging.INFO)
    try:
        model = _load(channel, frames.receive(channel))
        while model is not None:
            request = frames.receive(channel)
            channel.sendall(_answer(model, request["rows"], request["max_batch_size"]))
    except (EOFError, ConnectionError):
        return


def _load(channel: socket.socket, request: dict[str, Any]) -> Any:
    """Load and warm up; tell the worker how it went, and return the model or None."""
    from registry import runtimes
    from registry.errors import RegistryError
    from registry.signature import Signature

    began = time.perf_counter()
    try:
        signature = Signature.model_validate(request["signature"])
        model = runtimes.load(request["runtime"], Path(request["path"]), request["runtime_options"], signature)
        # The first prediction of many models is slow; no client shall pay for it.
        if request["input_example"] is not None:
            model.predict([request["input_example"]])
    except BaseException as error:  # noqa: BLE001 - whatever a model's code raises is an answer, also SystemExit
        _log.exception("the model can't be loaded")
        flat, known = _flat(error), isinstance(error, RegistryError)
        where = "" if known else f"The model fails on its input example: {flat['type']}: "
        channel.sendall(frames.encode({"failed": where + flat["message"]}))
        return None
    load_ms = (time.perf_counter() - began) * 1000
    memory_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT_BYTES
    channel.sendall(frames.encode({"ready": {"load_ms": round(load_ms, 1), "memory_bytes": memory_bytes}}))
    return model


def _answer(model: Any, rows: list[Any], max_batch_size: int) -> bytes:
    """Predict rows, at most `max_batch_size` at a time; `errors` maps the index of a bad row to what it raised."""
    began = time.perf_counter()
    outputs: list[Any] = []
    errors: dict[int, dict[str, str]] = {}
    for start in range(0, len(rows), max_batch_size):
        outputs += _predict(model, rows[start : start + max_batch_size], start, errors)
    predict_ms = (time.perf_counter() - began) * 1000
    return frames.encode({"outputs": outputs, "errors": errors, "predict_ms": round(predict_ms, 3)})


def _predict(model: Any, rows: list[Any], start: int, errors: dict[int, dict[str, str]]) -> list[Any]:
    """A batch must equal its parts: if it fails, each row is tried alone, so that only the guilty one fails."""
    try:
        outputs: list[Any] = model.predict(rows)
        if len(outputs) != len(rows):
            raise ValueError(f"the model returned {len(outputs)} outputs for {len(rows)} rows")  # noqa: TRY301
    except BaseException as error:  # noqa: BLE001 - as above
        if len(rows) > 1:
            return [output for at, row in enumerate(rows) for output in _predict(model, [row], start + at, errors)]
        _log.exception("a prediction failed")
        errors[start] = _flat(error)
        return [None]
    return outputs


def _flat(error: BaseException) -> dict[str, str]:
    """An exception as it crosses the process boundary; its traceback stays in this process's log."""
    return {"type": type(error).__name__, "message": str(error)[:_MESSAGE_LIMIT]}
