"""What the pictures of evaluations, shadows and rollouts show: three versions of a model of handwritten digits."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import joblib

from tests.support.calls import expect
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

NAME = "digits"
ROLLOUT = f"/deployments/{NAME}/rollout"
_EVALUATED = 1_200
#: Small machines make pictures slowly.
_RULES = {"disagreement": 0.3, "latency_p95": 10}


def prepare(stack: Stack) -> dict[str, str]:
    """Evaluate a better version, abort a worse one, begin to roll out the better one; return pages by picture."""
    rows, digits = _register(stack)
    for endpoint in (NAME, "digits_eu"):
        stack.deploy(NAME, version="1", endpoint_name=endpoint, journal=1.0)
    expect(202, stack.api.post("/deployments/digits_eu/shadow", json={"version": "2", "share": 0.5}))
    _send(stack, NAME, rows[:_EVALUATED], digits)
    eventually(lambda: stack.api.get(f"/deployments/{NAME}/journal").text.count("\n") > 0, 60)
    wanted = {"endpoint_name": NAME, "version": "2", "since": "1h"}
    evaluation_id = expect(201, stack.api.post("/evaluations", json=wanted))["evaluation_id"]
    eventually(lambda: stack.api.get(f"/evaluations/{evaluation_id}").json()["state"] == "succeeded", 120)
    _roll_out(stack, rows, "3", "aborted", rules={"latency_p95": 10})
    _roll_out(stack, rows, "2", "running", evaluation_id=evaluation_id, rules=_RULES)
    _send(stack, "digits_eu", rows[:400])
    return {
        "evaluation": f"/console/evaluations/{evaluation_id}",
        "rollout": f"/console{ROLLOUT}",
        "shadow": "/console/deployments/digits_eu/shadow",
        "rollout-new": f"/console{ROLLOUT}/new",
    }


def _register(stack: Stack) -> tuple[list[Any], list[int]]:
    """Register a fair version, a better one, and one that has learned wrong labels; return rows and their digits."""
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier

    data = load_digits()
    rows, digits = data.data.tolist(), data.target.tolist()
    wrong = [9 - digit for digit in digits]
    for trees, learned, labels in ((10, 250, digits), (40, 900, digits), (10, 250, wrong)):
        model = RandomForestClassifier(n_estimators=trees, random_state=0).fit(rows[-learned:], labels[-learned:])
        artifact = io.BytesIO()
        joblib.dump(model, artifact)
        about = {"name": NAME, "runtime": "sklearn", "input_example": rows[0]}
        data_of = {"metadata": json.dumps(about)}
        expect(201, stack.api.post("/models", files={"artifact": artifact.getvalue()}, data=data_of))
    return rows, digits


def _roll_out(stack: Stack, rows: Sequence[Any], version: str, state: str, **wanted: Any) -> None:
    """Roll a version out until it is in a state, and the candidate has met jobs."""
    plan = {"version": version, "steps": [25, 50, 100], "step_s": 600, **wanted}
    expect(202, stack.api.post(ROLLOUT, json=plan))
    for start in range(0, 100_000, 100):
        _send(stack, NAME, [rows[(start + number) % len(rows)] for number in range(100)])
        found = expect(200, stack.api.get(ROLLOUT))
        if found["state"] == state and (state == "aborted" or found["figures"]["pairs"] > 100):
            return
    raise AssertionError(found)


def _send(stack: Stack, endpoint: str, rows: Sequence[Any], truths: Sequence[Any] = ()) -> None:
    """Submit rows, wait for their outcomes, and say what is right."""
    jobs = [{"input": row} for row in rows]
    ids = expect(202, stack.api.post(f"/predict/{endpoint}/bulk", json=jobs))["job_ids"]
    stack.outcomes(ids)
    if truths:
        known = [{"job_id": job_id, "truth": truth} for job_id, truth in zip(ids, truths, strict=False)]
        expect(202, stack.api.post("/feedback", json=known))
