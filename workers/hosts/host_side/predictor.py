"""Calls a loaded model, and turns its result into one answer: an output or an error for each row."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from typing import Any

from registry.errors import OutputInvalid
from registry.runtimes.failures import exceptions, tracebacks
from registry.runtimes.outputs import MAX_DEPTH, is_json, rows_to_json, to_json
from registry.runtimes.protocol import Model
from workers.hosts import frames
from workers.hosts.host_side.request_parser import parse
from workers.hosts.host_side.sandbox import ProcessState

_log = logging.getLogger(__name__)

MEBIBYTE = 1 << 20
#: If a call with more rows fails, its rows are tried again so many at a time, and one by one only where that fails too:
#: the model may not be able to take more at once, and most rows are not to blame.
_ROWS_OF_SECOND_TRY = 64
#: Limit on the output of one row, as JSON.
LARGEST_OUTPUT_BYTES = 16 * MEBIBYTE
#: Limit on the outputs of one batch; `frames.LARGEST_ANSWER_BYTES` leaves room for the errors.
LARGEST_OUTPUTS_BYTES = 256 * MEBIBYTE
#: The failed rows of an answer whose tracebacks it has. To read thousands would take longer than the predictions.
_MOST_TRACEBACKS = 256


class Predictor:
    """One loaded model in the process that made this object."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._process_state = ProcessState()
        self._pid = os.getpid()

    def answer(self, request: bytes | bytearray) -> bytes:
        """Return the frame that answers a JSON request with `number`, `rows` and `max_batch_size`.

        At most `max_batch_size` rows are predicted at once. The answer has null for a row that failed, and its error in
        `errors`, by the row's index.
        """
        document = parse(request)
        rows = _Rows(document["rows"], request)
        max_batch_size = document["max_batch_size"]
        began = time.perf_counter()
        outputs: list[Any] = []
        errors: dict[int, dict[str, str]] = {}
        for start, end in _parts(0, rows.count, max_batch_size):
            outputs += self._outputs(rows, start, end, errors)
        predict_ms = round((time.perf_counter() - began) * 1000, 3)
        frame = _frame(outputs, errors, number=document["number"], predict_ms=predict_ms)
        self.leave_if_forked()
        return frame

    def leave_if_forked(self) -> None:
        """Exit if this process is a child that the model has forked: it must not continue as the host."""
        if os.getpid() != self._pid:
            os._exit(0)

    def _outputs(
        self, rows: _Rows, start: int, end: int, errors: dict[int, dict[str, str]], failed_calls: int = 0
    ) -> list[Any]:
        """Predict some rows; if that fails, predict fewer at once, and in the end each alone: a bad row fails alone."""
        try:
            return self._predict(rows.take(start, end, failed_calls))
        except BaseException as error:  # noqa: BLE001 - any error of a model is an answer, also SystemExit
            failure = self._failure(error, errors, alone=end - start == 1)
        # Not in the handler, where the traceback still holds the memory of the failed call.
        if end - start == 1:
            errors[start] = failure
            return [None]
        fewer = 1 if end - start <= _ROWS_OF_SECOND_TRY else _ROWS_OF_SECOND_TRY
        what = "a call with %d rows failed (%s: %.200s); repeating it with %d at once"
        _log.warning(what, end - start, failure["type"], failure["message"], fewer)
        outputs: list[Any] = []
        for part in _parts(start, end, fewer):
            outputs += self._outputs(rows, *part, errors, failed_calls + 1)
        return outputs

    @staticmethod
    def _failure(error: BaseException, errors: dict[int, dict[str, str]], *, alone: bool) -> dict[str, str]:
        if alone and not errors:  # one traceback for each answer
            _log.error("a prediction failed\n%s", exceptions.with_traceback(error))
        failure = exceptions.type_and_message(error)
        if alone and len(errors) < _MOST_TRACEBACKS and (lines := tracebacks.last_lines(error)):
            failure["traceback"] = lines
        return failure

    def _predict(self, rows: list[Any]) -> list[Any]:
        count = len(rows)  # before the call: the model may empty the list
        try:
            outputs = self._model.predict(rows)
            if type(outputs) is not list or len(outputs) != count:
                outputs = rows_to_json(outputs, count)
            return outputs
        finally:
            self.leave_if_forked()
            self._process_state.restore()


class _Rows:
    """The rows of a request. A model may change its rows, so each row object is used once."""

    def __init__(self, rows: list[Any], request: bytes | bytearray) -> None:
        self.count = len(rows)
        self._request = request
        #: The rows as they were read for the first, second and third call with each.
        self._read = [rows]

    def take(self, start: int, end: int, failed_calls: int) -> list[Any]:
        """Return unchanged rows, of which this object keeps none; read the request again, once, after failed calls."""
        if failed_calls == len(self._read):
            self._read.append(parse(self._request)["rows"])
        rows = self._read[failed_calls]
        taken = rows[start:end]
        rows[start:end] = [None] * (end - start)
        return taken


def _parts(start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of consecutive parts with at most so many rows."""
    for first in range(start, end, size):
        yield first, min(first + size, end)


def _frame(outputs: list[Any], errors: dict[int, dict[str, str]], **rest: Any) -> bytes:
    frame = b""
    if is_json(outputs, MAX_DEPTH + 1):
        with contextlib.suppress(ValueError, MemoryError):  # NaN, half of a surrogate pair
            frame = frames.encode({"outputs": outputs, "errors": errors, **rest})
    if 0 < len(frame) <= LARGEST_OUTPUT_BYTES:
        return frame
    texts = b",".join(_one_by_one(outputs, errors))
    rest_text = frames.to_json({"errors": errors, **rest})
    return frames.framed(b'{"outputs":[%b],%b' % (texts, rest_text[1:]))


def _one_by_one(outputs: list[Any], errors: dict[int, dict[str, str]]) -> Iterator[bytes]:
    """Yield each output as JSON; outputs that are not JSON-serializable become errors."""
    left_bytes = LARGEST_OUTPUTS_BYTES
    for index, output in enumerate(outputs):
        try:
            text = _text_of(output, left_bytes)
        except BaseException as error:  # noqa: BLE001 - encoding may call the model's code
            errors.setdefault(index, exceptions.type_and_message(error))
            text = b"null"
        left_bytes -= len(text)
        yield text


def _text_of(output: Any, left_bytes: int) -> bytes:
    try:
        text = frames.to_json(to_json(output))
    except UnicodeEncodeError as error:
        raise OutputInvalid("prediction contains half of a surrogate pair, which is not Unicode text.") from error
    if len(text) > LARGEST_OUTPUT_BYTES:
        raise OutputInvalid(f"prediction has {len(text)} bytes of JSON; at most {LARGEST_OUTPUT_BYTES} are allowed.")
    if len(text) > left_bytes:
        raise OutputInvalid(
            f"The outputs of this batch have more than {LARGEST_OUTPUTS_BYTES} bytes of JSON: "
            "set a smaller max_batch_size."
        )
    return text
