"""Asking a loaded model, and making of whatever it does one answer: an output or a failure for each row."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from typing import Any

from registry.errors import OutputInvalid
from registry.runtimes.outputs import rows_to_json, to_json
from registry.runtimes.protocol import Model
from workers.hosts import failures, frames
from workers.hosts.surroundings import Surroundings

_log = logging.getLogger(__name__)

MEBIBYTE = 1 << 20
#: The output of one row, as JSON.
LARGEST_OUTPUT_BYTES = 16 * MEBIBYTE
#: The outputs of one batch; `frames.LARGEST_ANSWER_BYTES` has room for them and for the errors.
LARGEST_OUTPUTS_BYTES = 256 * MEBIBYTE


class Predictor:
    """One loaded model in the process that made this object."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._surroundings = Surroundings()
        self._pid = os.getpid()

    def answer(self, number: int, rows: list[Any], max_batch_size: int) -> bytes:
        """Return the frame that answers request `number`; at most `max_batch_size` rows are predicted at once.

        It says None for a row that failed, and in `errors`, by the row's index, what was raised.
        """
        began = time.perf_counter()
        outputs: list[Any] = []
        errors: dict[int, dict[str, str]] = {}
        for start in range(0, len(rows), max_batch_size):
            outputs += self._outputs(rows[start : start + max_batch_size], start, errors)
        predict_ms = round((time.perf_counter() - began) * 1000, 3)
        frame = _frame(outputs, errors, number=number, predict_ms=predict_ms)
        self.leave_if_forked()
        return frame

    def leave_if_forked(self) -> None:
        """End this process if it is a child that the model forked and let return: it must not go on as the host."""
        if os.getpid() != self._pid:
            os._exit(0)

    def _outputs(self, rows: list[Any], start: int, errors: dict[int, dict[str, str]]) -> list[Any]:
        """A batch must equal its parts: if it fails, each row is tried alone, so that only the guilty ones fail."""
        try:
            return self._ask(rows)
        except BaseException as error:  # noqa: BLE001 - whatever a model raises is an answer, also SystemExit
            failure = failures.flat(error)
            if len(rows) == 1 and not errors:  # one traceback for each answer
                _log.error("a prediction failed\n%s", failures.trace(error))
        # Not in the handler: there, what the failed call had allocated would still be held.
        if len(rows) == 1:
            errors[start] = failure
            return [None]
        _log.warning("a batch failed (%(type)s: %(message).200s); its rows are tried one by one", failure)
        return [output for at, row in enumerate(rows) for output in self._outputs([row], start + at, errors)]

    def _ask(self, rows: list[Any]) -> list[Any]:
        try:
            outputs = self._model.predict(rows)
            if type(outputs) is not list or len(outputs) != len(rows):
                outputs = rows_to_json(outputs, len(rows))
            return outputs
        finally:
            self.leave_if_forked()
            self._surroundings.restore()


def _frame(outputs: list[Any], errors: dict[int, dict[str, str]], **rest: Any) -> bytes:
    frame = b""
    with contextlib.suppress(BaseException):  # encoding may call code of the model's classes
        frame = frames.encode({"outputs": outputs, "errors": errors, **rest})
    if 0 < len(frame) <= LARGEST_OUTPUT_BYTES:
        return frame
    texts = b",".join(_one_by_one(outputs, errors))
    rest_text = frames.to_json({"errors": errors, **rest})
    return frames.framed(b'{"outputs":[%b],%b' % (texts, rest_text[1:]))


def _one_by_one(outputs: list[Any], errors: dict[int, dict[str, str]]) -> Iterator[bytes]:
    """Yield each output as JSON; those that can't be said become errors."""
    left_bytes = LARGEST_OUTPUTS_BYTES
    for index, output in enumerate(outputs):
        try:
            text = _text_of(output, left_bytes)
        except BaseException as error:  # noqa: BLE001 - encoding may call code of the model's classes
            errors.setdefault(index, failures.flat(error))
            text = b"null"
        left_bytes -= len(text)
        yield text


def _text_of(output: Any, left_bytes: int) -> bytes:
    try:
        text = frames.to_json(output)
    except UnicodeEncodeError as error:
        raise OutputInvalid("prediction holds half of a surrogate pair, which is not Unicode text.") from error
    except (TypeError, ValueError):
        text = frames.to_json(to_json(output))  # converts numpy's values, or says what is wrong
    if len(text) > LARGEST_OUTPUT_BYTES:
        raise OutputInvalid(f"prediction has {len(text)} bytes of JSON; {LARGEST_OUTPUT_BYTES} is the most.")
    if len(text) > left_bytes:
        raise OutputInvalid(
            f"The outputs of this batch have more than {LARGEST_OUTPUTS_BYTES} bytes of JSON: "
            "set a smaller max_batch_size."
        )
    return text
