"""Tries an endpoint: shows its example, submits the typed input as a job, and waits a little for its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from api.auth import identity
from api.console import forms, text
from api.predictions import service as prediction_service
from api.process.services import Services
from registry.deployments import DesiredDeployment
from workers.jobs import waiting
from workers.jobs.query import JobView
from workers.queues.priorities import Priority

#: How long the page waits for the outcome; after that it shows the job as it stands, and looks again.
WAIT_S = 5.0


@dataclass(frozen=True)
class Form:
    """The form as it is shown: its values, its problems, or its job."""

    deployment: DesiredDeployment
    values: Mapping[str, str]
    problems: Mapping[str, str]
    job: JobView | None
    #: The HTTP status of the page.
    status: int = 200


def blank(deployment: DesiredDeployment) -> Form:
    """Return the form filled with the model's example."""
    example = deployment.input_example
    filled = "" if example is None else text.json_lines(example)
    return Form(deployment, {"input": filled, "priority": Priority.NORMAL.value}, {}, None)


def submit(here: Services, deployment: DesiredDeployment, values: Mapping[str, str]) -> Form:
    """Submit the typed input, and wait a little for the job's end.

    Raises:
        EndpointNotDeployed, QueueUnavailable: no input can be submitted.
    """
    sent = forms.send(
        lambda: prediction_service.submit_to_endpoint(
            here, deployment.endpoint_name, forms.prediction(values), wait_s=None, idempotency_key=None
        ),
        "input",
    )
    if sent.made is None:
        return Form(deployment, values, sent.problems, None, sent.status)
    caller = identity.current()
    with here.holding(caller.name, min(WAIT_S, here.settings.max_wait_s)) as wait_s:
        job = waiting.default_waiter().wait(sent.made.job.job_id, wait_s, caller.sees_jobs_of)
    return Form(deployment, values, {}, job)
