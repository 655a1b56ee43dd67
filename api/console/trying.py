"""Tries an endpoint: shows its example, submits the typed input as a job, and waits a little for its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from api.auth import identity
from api.console import forms, text
from api.predictions import service as prediction_service
from api.predictions.service import Submit, Submitted
from api.process.services import Services
from registry.deployments import DesiredDeployment
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
    caller = identity.current()

    def send() -> Submitted:
        prediction = forms.prediction(values)
        serving = prediction_service.serving_endpoint(here, caller, deployment.endpoint_name)
        prediction_service.checked(serving, prediction)
        return here.jobs.run(prediction_service.submit(here, Submit(serving, prediction, caller.name)))

    sent = forms.send(send, "input")
    if sent.made is None:
        return Form(deployment, values, sent.problems, None, sent.status)
    with here.holding_thread(caller.name, min(WAIT_S, here.settings.max_wait_s)) as wait_s:
        job = here.jobs.run(_ended(here, sent.made.job.job_id, wait_s, caller.sees_jobs_of))
    return Form(deployment, values, {}, job)


async def _ended(here: Services, job_id: str, wait_s: float, owner: str | None) -> JobView:
    return await here.jobs.desk.waits.wait(job_id, wait_s, owner)
