"""Jobs: the recent ones, one of them, cancelling, running again, and sending a webhook again."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.auth import identity
from api.auth.sessions import for_role
from api.console import forms, views
from api.http.reading import validated
from api.jobs import replays
from api.jobs.schemas import JobList
from api.process import services
from registry.roles import Role
from workers.jobs import query
from workers.jobs.query import JobState
from workers.pipelines import submitting
from workers.webhooks import store as deliveries

blueprint = Blueprint("jobs", __name__, url_prefix="/jobs")


@blueprint.get("")
@for_role(Role.CLIENT)
def list_jobs() -> str:
    """List recent jobs, newest first."""
    filters = {name: value for name in ("endpoint_name", "status") if (value := request.args.get(name))}
    wanted = validated(JobList, filters)
    found = query.recent(wanted.endpoint_name, wanted.status, wanted.limit, identity.current().sees_jobs_of)
    endpoints = views.endpoint_names(services.current())
    return render_template("console/jobs.html", jobs=found, wanted=wanted, states=list(JobState), endpoints=endpoints)


@blueprint.get("/<job_id>")
@for_role(Role.CLIENT)
def show_job(job_id: str) -> str:
    """Show a job."""
    return render_template("console/job.html", **views.job(services.current(), job_id))


@blueprint.get("/<job_id>/cancel")
@for_role(Role.CLIENT)
def review_cancel(job_id: str) -> str:
    """Say what cancelling does, and ask for confirmation."""
    return render_template("console/cancel.html", job=query.get(job_id, identity.current().sees_jobs_of))


@blueprint.post("/<job_id>/cancel")
@for_role(Role.CLIENT)
def cancel(job_id: str) -> AnyResponse:
    """Cancel a job as it was shown: if it was queued, its host is not stopped even if the job has started since."""
    # A pipeline is cancelled as it is, and its host never stopped: it may be further by now.
    owner = identity.current().sees_jobs_of
    force = request.form.get("status") == JobState.RUNNING and not query.get(job_id, owner).steps
    submitting.cancel(job_id, force=force, owner=owner)
    return redirect(url_for(".show_job", job_id=job_id, done="cancel"), 303)


@blueprint.post("/<job_id>/retry")
@for_role(Role.CLIENT)
def retry(job_id: str) -> AnyResponse | tuple[str, int]:
    """Run a failed job again with the input in the form; show why that can't be."""
    here, form = services.current(), request.form
    sent = forms.send(lambda: replays.retry(here, identity.current(), job_id, forms.retry(form)), "input")
    if sent.made is None:
        shown = {**views.job(here, job_id), "again": form, "problems": sent.problems}
        return render_template("console/job.html", **shown), sent.status
    return redirect(url_for(".show_job", job_id=sent.made.job.job_id, done="retry"), 303)


@blueprint.post("/<job_id>/redeliver")
@for_role(Role.OPERATOR)
def redeliver(job_id: str) -> AnyResponse:
    """Send a job's webhook again, or at once if it waits for its next try; the receiver knows its id."""
    deliveries.redeliver(job_id)
    return redirect(url_for(".show_job", job_id=job_id, done="redeliver"), 303)
