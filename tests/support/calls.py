"""What tests ask of a running service over HTTP, each call with the answer that is expected of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import httpx

from tests.support import models
from tests.support.models import EXAMPLE
from tests.support.waiting import eventually

Document = dict[str, Any]


class Calls:
    """The HTTP calls of a service; `api` is a client whose base URL is the service's."""

    api: httpx.Client

    def register(self, name: str, model: object, input_example: Any = EXAMPLE, **metadata: Any) -> Document:
        """Register a model, a toy one unless `metadata` names another runtime; return the version."""
        document = {"name": name, "runtime": "python", "input_example": input_example, **metadata}
        return expect(
            201,
            self.api.post("/models", files={"artifact": models.dumped(model)}, data={"metadata": json.dumps(document)}),
        )

    def deploy(self, model_name: str, wait_s: int = 60, **wanted: Any) -> Document:
        """Deploy, wait until it is active, and return its view; with `wait_s=0` don't wait."""
        prefer = {"Prefer": f"wait={wait_s}"} if wait_s else {}
        answer = self.api.post("/deployments/deploy", json={"model_name": model_name, **wanted}, headers=prefer)
        return expect(201 if wait_s else 202, answer)

    def undeploy(self, endpoint_name: str, backlog: str = "drain", wait_s: int = 60) -> Document:
        """Undeploy, wait until it is down, and return its view; with `wait_s=0` don't wait."""
        prefer = {"Prefer": f"wait={wait_s}"} if wait_s else {}
        body = {"endpoint_name": endpoint_name, "backlog": backlog}
        answer = self.api.post("/deployments/undeploy", json=body, headers=prefer)
        assert answer.status_code == 200 or (answer.status_code == 202 and not wait_s), answer.text
        view: Document = answer.json()["deployments"][0]
        return view

    def view(self, endpoint_name: str) -> Document:
        """The deployment as the service shows it now."""
        return expect(200, self.api.get(f"/deployments/{endpoint_name}"))

    def wait_for_status(self, endpoint_name: str, status: str, timeout_s: float = 30.0) -> Document:
        """Wait until the deployment has this status; return its view."""

        def reached() -> Document | None:
            view = self.view(endpoint_name)
            assert view["status"] == status, view
            return view

        return eventually(reached, timeout_s, message=f"{endpoint_name} is {status}") or {}

    def serving(self, endpoint_name: str) -> set[str]:
        """The node names of the workers that have the endpoint's current version loaded."""
        view = self.view(endpoint_name)
        ready = [each for each in view["workers"] if each["state"] == "ready"]
        return {each["worker"] for each in ready if each["revision"] == view["revision"]}

    def wait_for_other_hosts(self, endpoint_name: str, pids: Iterable[int]) -> list[int]:
        """Wait until a worker reports hosts of a deployment, and none of these; return their process ids.

        What becomes of a host is reported soon after, not before its jobs are answered.
        """
        gone = set(pids)

        def others() -> list[int]:
            found = [pid for worker in self.view(endpoint_name)["workers"] for pid in worker["pids"]]
            assert not gone & set(found), f"{found} are reported, of which {gone} should be gone"
            return found

        return eventually(others, message=f"{endpoint_name} has other hosts than {sorted(gone)}")

    def submit(self, endpoint_name: str, row: Any) -> str:
        """Submit one input without waiting; return the job's id."""
        answer = self.api.post(f"/predict/{endpoint_name}", json={"input": row})
        return str(expect(202, answer)["job_id"])

    def submit_all(self, endpoint_name: str, rows: Iterable[Any]) -> list[str]:
        """Submit each input as a job of its own; return the ids."""
        return [self.submit(endpoint_name, row) for row in rows]

    def predict(self, endpoint_name: str, row: Any, wait_s: int = 30) -> Document:
        """Submit one input and wait for its outcome; return that."""
        answer = self.api.post(f"/predict/{endpoint_name}", json={"input": row}, headers={"Prefer": f"wait={wait_s}"})
        return expect(200, answer)

    def job(self, job_id: str, wait_s: int = 30) -> Document:
        """Wait for a job's end; return its document."""
        return expect(200, self.api.get(f"/jobs/{job_id}", params={"wait": wait_s}))

    def wait_until_known(self, job_ids: Iterable[str], timeout_s: float = 20.0) -> None:
        """Wait until these jobs have records: one of a program without our code has it once a worker takes its message.

        Until then the API answers 404, also to those who would wait for the job's end.
        """
        ids = list(job_ids)
        eventually(
            lambda: {self.api.get(f"/jobs/{job_id}").status_code for job_id in ids} == {200},
            timeout_s, message="the jobs are known",
        )  # fmt: skip

    def ended(self, job_ids: Iterable[str]) -> list[Document]:
        """Wait for the ends of all these jobs; return their documents in the same order."""
        documents = [self.job(job_id) for job_id in job_ids]
        unfinished = [each for each in documents if each["status"] in ("queued", "running")]
        assert not unfinished, f"{len(unfinished)} of {len(documents)} jobs have not ended, such as {unfinished[0]}"
        return documents

    def outcomes(self, job_ids: Iterable[str]) -> list[Document]:
        """Wait until all these jobs have succeeded; return their outcomes in the same order."""
        documents = self.ended(job_ids)
        failed = [each for each in documents if each["status"] != "succeeded"]
        assert not failed, f"{len(failed)} of {len(documents)} jobs have not succeeded, such as {failed[0]}"
        return [each["outcome"] for each in documents]

    def wait_until_running(self, job_ids: Iterable[str], timeout_s: float = 20.0) -> None:
        """Wait until model hosts have all these jobs."""
        ids = list(job_ids)
        eventually(lambda: {self.job(job_id, 0)["status"] for job_id in ids} == {"running"}, timeout_s)


def expect(status: int, answer: httpx.Response) -> Document:
    """Return the JSON of an answer that must have this status."""
    assert answer.status_code == status, f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text}"
    document: Document = answer.json()
    return document


def predictions(outcomes: Iterable[Mapping[str, Any]]) -> list[Any]:
    """The prediction of each outcome."""
    return [outcome["prediction"] for outcome in outcomes]
