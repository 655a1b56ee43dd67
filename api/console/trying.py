"""Trying an endpoint: its example, a job of what was typed, and that job's end if it comes soon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from api import identity, submitting
from api.console import forms, text
from api.services import Services
from registry.deployments import DesiredDeployment
from workers import waiting
from workers.jobs import Job
from workers.priorities import Priority

#: How long the page waits for the outcome; after that it shows the job as it stands, and looks again.
WAIT_S = 5.0


@dataclass(frozen=True)
class Form:
    """The form as it is shown: what stands in it, what was wrong with it, or the job that it led to."""

    deployment: DesiredDeployment
    values: Mapping[str, str]
    problems: Mapping[str, str]
    job: Job | None
    #: The HTTP status of the page.
    status: int = 200


def blank(deployment: DesiredDeployment) -> Form:
    """Return the form filled with the model's example."""
    example = deployment.input_example
    filled = "" if example is None else text.json_lines(example)
    return Form(deployment, {"input": filled, "priority": Priority.NORMAL.value}, {}, None)


def submit(here: Services, deployment: DesiredDeployment, values: Mapping[str, str]) -> Form:
    """Submit what was typed, and wait a little for the job's end.

    Raises:
        EndpointNotDeployed, QueueUnavailable: it can't be submitted, whatever is typed.
    """
    sent = forms.send(
        lambda: submitting.submit_to_endpoint(
            here, deployment.endpoint_name, forms.prediction(values), wait_s=None, idempotency_key=None
        ),
        "input",
    )
    if sent.made is None:
        return Form(deployment, values, sent.problems, None, sent.status)
    with here.holding(min(WAIT_S, here.settings.max_wait_s)) as wait_s:
        job = waiting.default_waiter().wait(sent.made.job.job_id, wait_s, identity.current().sees_jobs_of)
    return Form(deployment, values, {}, job)
