"""`map` against a toy of the service that answers steps: no HTTP, no clock to wait for."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import count, islice
from typing import Any

import pytest

from api.client import (
    ClientError,
    InputInvalid,
    InputNotJson,
    JobFailed,
    JobNotFound,
    NotFound,
    RequestInvalid,
    SettingsWrong,
    WaitTimedOut,
)
from api.client.flows.maps import mapping
from api.client.flows.maps import options as map_options
from api.client.options import OnError
from api.client.steps import Answer, Lost, Pause, Request, Step, Take, Taken
from api.client.transport import drivers
from api.client.transport.drivers import Driver


class ToyService(Driver):
    """Doubles numbers, once it is asked for them; refuses texts, fails at 13 and forgets 14."""

    def __init__(self, *, max_queue: int = 100_000, max_bytes: int = 10_000_000) -> None:
        self.max_queue = max_queue
        self.max_bytes = max_bytes
        self.jobs: dict[str, Any] = {}
        self.unfinished: set[str] = set()
        self.by_key: dict[str, list[str]] = {}
        self.submits: list[int] = []
        self.looks: list[int] = []
        self.most_unfinished = 0
        self.pauses: list[float] = []
        self.retry_after_s = 0.001
        #: How many jobs end before each look.
        self.ends_a_look = 100_000
        #: Numbers of requests whose answers are lost, after they were carried out.
        self.loses: set[int] = set()
        self._numbers = count()

    def _reply(self, step: Step) -> Any:
        if isinstance(step, Pause):
            self.pauses.append(step.seconds)
            return None
        assert isinstance(step, Request)
        status, document = self._answer(step)
        if next(self._numbers) in self.loses:
            return Lost("lost", sent=True)
        return Answer("http://toy", status, {}, json.dumps(document).encode())

    def _answer(self, request: Request) -> tuple[int, dict[str, Any]]:
        assert request.content is not None
        if request.path == "/jobs/lookup":
            return 200, self._look(json.loads(request.content)["job_ids"])
        if request.path != "/predict/double/bulk":
            return 404, {"code": "endpoint_not_deployed", "detail": "?"}
        lines = [json.loads(line) for line in request.content.splitlines()]
        self.submits.append(len(lines))
        return self._refusal(lines, len(request.content)) or self._accept(lines, request.headers["Idempotency-Key"])

    def _refusal(self, lines: list[Any], size_bytes: int) -> tuple[int, dict[str, Any]] | None:
        if size_bytes > self.max_bytes:
            return 413, {"code": "body_too_large", "detail": "too large"}
        if len(lines) > self.max_queue:
            return 422, {"code": "bulk_too_large", "detail": "too many", "most": self.max_queue}
        for number, line in enumerate(lines, 1):
            if isinstance(line["input"], str):
                field = f"line {number}: input"
                return 422, {"code": "input_invalid", "detail": f"{field} must be a number", "field": field}
        return None

    def _accept(self, lines: list[Any], key: str) -> tuple[int, dict[str, Any]]:
        if key not in self.by_key:
            if len(self.unfinished) + len(lines) > self.max_queue:
                return 429, {"code": "queue_full", "detail": "full", "retry_after_s": self.retry_after_s}
            self.by_key[key] = [self._add(line["input"]) for line in lines]
        return 202, {"job_ids": self.by_key[key]}

    def _add(self, value: Any) -> str:
        job_id = f"job{len(self.jobs)}"
        self.jobs[job_id] = value
        self.unfinished.add(job_id)
        self.most_unfinished = max(self.most_unfinished, len(self.unfinished))
        return job_id

    def _look(self, job_ids: list[str]) -> dict[str, Any]:
        self.looks.append(len(job_ids))
        for job_id in sorted(self.unfinished, key=lambda each: int(each[3:]))[: self.ends_a_look]:
            self.unfinished.discard(job_id)
        known = [each for each in job_ids if self.jobs[each] != 14]
        jobs, left = known[:400], known[400:]
        unknown = [each for each in job_ids if self.jobs[each] == 14]
        return {"jobs": [self._job(each) for each in jobs], "unknown_job_ids": unknown, "left_job_ids": left}

    def _job(self, job_id: str) -> dict[str, Any]:
        value = self.jobs[job_id]
        if job_id in self.unfinished:
            return {"job_id": job_id, "status": "queued"}
        if value == 13:
            return {"job_id": job_id, "status": "failed", "error": {"code": "prediction_failed", "message": "13"}}
        return {"job_id": job_id, "status": "succeeded", "outcome": {"prediction": 2 * value}}


def mapped(
    service: ToyService, inputs: Iterable[Any], *, on_error: OnError = "return", ordered: bool = True,
    window: int = 10_000, idle_timeout_s: float = 5.0, endpoint_name: str = "double", progress: bool = False,
) -> Iterator[Any]:  # fmt: skip
    how = map_options.options_of(
        endpoint_name,
        {"on_error": on_error, "progress": progress, "window": window, "idle_timeout_s": idle_timeout_s},
        ordered=ordered,
    )
    return service.stream(mapping.run(how, how.progress(inputs)), inputs)


def test_results_are_in_the_order_of_the_inputs() -> None:
    service = ToyService()
    service.ends_a_look = 700
    assert list(mapped(service, range(100, 3_600))) == [2 * n for n in range(100, 3_600)]
    assert service.submits == [1_000, 1_000, 1_000, 500]
    assert max(service.looks) == 500
    assert list(mapped(ToyService(), [])) == []


def test_results_come_as_jobs_end_if_order_does_not_matter() -> None:
    service = ToyService()
    service.ends_a_look = 10
    found = list(mapped(service, range(100, 700), ordered=False))
    assert sorted(found) == [(n - 100, 2 * n) for n in range(100, 700)]


def test_endless_inputs_are_taken_no_further_than_the_window() -> None:
    service, taken = ToyService(), []

    def endless() -> Iterator[int]:
        for number in count(100):
            taken.append(number)
            yield number

    results = mapped(service, endless(), window=50)
    assert list(islice(results, 120)) == [2 * n for n in range(100, 220)]
    assert service.most_unfinished <= 50
    assert len(taken) <= 120 + 50


def test_inputs_that_come_slowly_are_not_kept_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "_GATHER_S", 0.0)
    service = ToyService()

    def slowly() -> Iterator[int]:
        for number in range(100, 103):
            yield number
            assert number - 99 == len(service.jobs)  # submitted before the next one is asked for

    assert list(mapped(service, slowly())) == [200, 202, 204]


def test_bad_inputs_and_failed_jobs_are_in_the_place_of_their_predictions() -> None:
    inputs: list[Any] = [1, "a", 2, 13, float("inf"), 14, 3, "b", "c"]
    found = list(mapped(ToyService(), inputs))
    assert [type(each) for each in found] == [
        int, InputInvalid, int, JobFailed, InputNotJson, JobNotFound, int, InputInvalid, InputInvalid
    ]  # fmt: skip
    assert [each for each in found if isinstance(each, int)] == [2, 4, 6]
    errors = [each for each in found if isinstance(each, ClientError)]
    assert [each.index for each in errors] == [1, 3, 4, 5, 7, 8]
    assert str(found[7]) == "Input 7: input must be a number"
    assert found[7].field == "input"
    assert found[3].code == "prediction_failed"


def test_many_bad_inputs_are_found_without_sending_each_again_and_again() -> None:
    service = ToyService()
    found = list(mapped(service, ["bad"] * 1_500 + list(range(100, 1_600))))
    assert [type(each) for each in found] == [InputInvalid] * 1_500 + [int] * 1_500
    assert sum(service.submits) < 10_000


@pytest.mark.parametrize(
    ("inputs", "error"), [([1, 2, "a", 3], InputInvalid), ([1, 2, 13, 3], JobFailed), ([1, 2, {3}], InputNotJson)]
)
def test_an_error_is_raised_where_its_prediction_would_be(inputs: list[Any], error: type[ClientError]) -> None:
    results = mapped(ToyService(), inputs, on_error="raise")
    assert [next(results), next(results)] == [2, 4]
    with pytest.raises(error) as raised:
        next(results)
    assert raised.value.index == 2


def test_lost_answers_lose_no_job_and_double_none() -> None:
    service = ToyService()
    service.loses = {0, 3, 4, 6, 9}
    assert list(mapped(service, range(100, 4_100))) == [2 * n for n in range(100, 4_100)]
    assert len(service.jobs) == 4_000
    assert len(service.submits) > 4


def test_a_full_queue_is_waited_out_while_own_jobs_are_looked_at() -> None:
    service = ToyService(max_queue=1_500)
    service.ends_a_look = 300
    assert list(mapped(service, range(100, 5_100))) == [2 * n for n in range(100, 5_100)]
    assert service.most_unfinished <= 1_500


def test_own_jobs_that_have_ended_are_room_whatever_the_service_said_of_it() -> None:
    service = ToyService(max_queue=100)
    service.retry_after_s = 60
    service.ends_a_look = 60
    assert list(mapped(service, range(100, 1_100))) == [2 * n for n in range(100, 1_100)]
    assert sum(service.pauses) < 1


def test_chunks_are_made_as_small_as_the_service_takes() -> None:
    for service in (ToyService(max_queue=60), ToyService(max_bytes=900)):
        assert list(mapped(service, range(100, 1_100))) == [2 * n for n in range(100, 1_100)]
    found = list(mapped(ToyService(max_bytes=60), [list(range(500)), 1]))
    assert [type(each) for each in found] == [RequestInvalid, int]


def test_an_endpoint_that_is_not_there_ends_it() -> None:
    with pytest.raises(NotFound):
        list(mapped(ToyService(), [1], endpoint_name="ghost"))


def test_a_queue_that_does_not_move_ends_it() -> None:
    service = ToyService()
    service.ends_a_look = 0
    with pytest.raises(WaitTimedOut, match="3 are unfinished"):
        list(mapped(service, [1, 2, 3], idle_timeout_s=0.05))
    with pytest.raises(WaitTimedOut):
        list(mapped(FullService(), [1, 2, 3], idle_timeout_s=0.05))


class FullService(ToyService):
    """Has no room, for jobs of others."""

    def _answer(self, request: Request) -> tuple[int, dict[str, Any]]:
        return 429, {"code": "queue_full", "detail": "full"}


def test_the_bar_is_shown_if_it_is_asked_for_or_stderr_is_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = [1, 2, 13]
    list(mapped(ToyService(), inputs, progress=True))
    assert "3/3" in (shown := capsys.readouterr().err)
    assert "1 failed" in shown
    how = map_options.options_of("double", {}, ordered=True)
    assert not how.progress(inputs)._shown
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    assert how.progress(inputs)._shown


def test_without_rich_the_bar_is_a_line_of_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    assert len(list(mapped(ToyService(), [1, 2, 13], progress=True))) == 3
    shown = capsys.readouterr().err
    assert shown.startswith("\rdouble 0/3")
    assert shown.endswith("\rdouble 3/3, 1 failed\n")
    list(mapped(ToyService(), iter([1, 2]), progress=True))
    assert capsys.readouterr().err.endswith("\rdouble 2/?\n")


def test_what_is_printed_beside_the_bar_goes_where_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, output = io.StringIO(), io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", output)
    for result in mapped(ToyService(), [100, 101], progress=True):
        print(result)
    assert output.getvalue() == "200\n202\n"
    assert "2/2" in terminal.getvalue()


def test_options_that_mean_nothing_are_refused() -> None:
    for wrong in ({"on_error": "ignore"}, {"window": 0}):
        with pytest.raises(SettingsWrong):
            mapped(ToyService(), [1], **wrong)


def test_inputs_are_taken_as_they_come() -> None:
    assert drivers._taken(iter(range(5)), Take(3, 60)) == Taken([0, 1, 2], ended=False)
    assert drivers._taken(iter(range(2)), Take(3, 60)) == Taken([0, 1], ended=True)


class RowService(ToyService):
    """Takes several numbers as one job, too: doubles them all or fails if there is a 13."""

    def _add(self, value: Any) -> str:
        raise NotImplementedError

    def _refusal(self, lines: list[Any], size_bytes: int) -> tuple[int, dict[str, Any]] | None:
        for number, line in enumerate(lines, 1):
            rows = line.get("inputs", [line.get("input")])
            wrong = next((place for place, each in enumerate(rows) if isinstance(each, str)), None)
            if wrong is not None:
                field = f"line {number}: " + (f"inputs[{wrong}]" if "inputs" in line else "input")
                return 422, {"code": "input_invalid", "detail": f"{field} must be a number", "field": field}
        return None

    def _accept(self, lines: list[Any], key: str) -> tuple[int, dict[str, Any]]:
        if key not in self.by_key:
            self.by_key[key] = []
            for line in lines:
                job_id = f"job{len(self.jobs)}"
                self.jobs[job_id] = line.get("inputs", line.get("input"))
                self.unfinished.add(job_id)
                self.by_key[key].append(job_id)
        return 202, {"job_ids": self.by_key[key]}

    def _job(self, job_id: str) -> dict[str, Any]:
        value = self.jobs[job_id]
        if job_id in self.unfinished or not isinstance(value, list):
            return super()._job(job_id)
        if 13 in value:
            return {"job_id": job_id, "status": "failed", "error": {"code": "prediction_failed", "message": "13"}}
        return {"job_id": job_id, "status": "succeeded", "outcome": {"predictions": [2 * each for each in value]}}


def rows_mapped(service: ToyService, inputs: Iterable[Any], **options: Any) -> list[Any]:
    how = map_options.options_of("double", {"on_error": "return", "inputs_a_job": 100, **options}, ordered=True)  # type: ignore[typeddict-item]
    return list(service.stream(mapping.run(how, how.progress(inputs)), inputs))


@pytest.mark.parametrize("key", [{}, {"idempotency_key": "mine"}])
def test_inputs_share_jobs_and_one_that_fails_or_is_refused_spoils_no_other(key: dict[str, str]) -> None:
    service = RowService()
    inputs: list[Any] = list(range(1_000, 3_450))
    inputs[5], inputs[1_205], inputs[1_207], inputs[2_300] = "bad", "bad", 13, float("inf")
    inputs[2_449] = InputInvalid("of the caller")
    found = rows_mapped(service, inputs, **key)
    wrong = {place: type(each) for place, each in enumerate(found) if isinstance(each, ClientError)}
    assert wrong == {5: InputInvalid, 1_205: InputInvalid, 1_207: JobFailed, 2_300: InputNotJson, 2_449: InputInvalid}
    assert str(found[1_205]) == "Input 1205: input must be a number"
    assert (found[5].field, found[1_207].index) == ("input", 1_207)
    assert all(each == 2 * value for each, value in zip(found, inputs, strict=True) if isinstance(each, int))
    assert len(service.jobs) < 25 + 2 * 100 + 2  # what failed, and what JSON can't say, was taken apart, and no more


def test_a_map_under_a_key_that_is_repeated_from_a_full_thousand_on_submits_no_job_again() -> None:
    service = RowService()
    inputs: list[Any] = list(range(1_000, 6_300))
    inputs[3_100], inputs[4_500] = "bad", 13
    first = rows_mapped(service, inputs, idempotency_key="mine")
    jobs = len(service.jobs)
    again = rows_mapped(service, inputs[3_000:], idempotency_key="mine", first_index=3_000)
    assert len(service.jobs) == jobs
    assert list(map(str, again)) == list(map(str, first[3_000:]))
    rows_mapped(service, inputs[3_000:], idempotency_key="another", first_index=3_000)
    assert len(service.jobs) > jobs


@pytest.mark.parametrize(
    "wrong", [{"first_index": 1_000}, {"idempotency_key": "a", "first_index": 10}, {"inputs_a_job": 0}]
)
def test_options_of_jobs_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsWrong):
        rows_mapped(RowService(), [1], **wrong)
