"""Routes of shadows and rollouts: start, show and steer them."""

from __future__ import annotations

from flask import Blueprint, Response

from api.http.flask_app import responses
from api.http.flask_app.requests import body
from api.http.route import Operation
from api.process import services
from api.rollouts import service
from api.rollouts.schemas import RolloutRemark, Rollouts, RolloutStart, RolloutView, ShadowStart, ShadowView
from registry.roles import Role

blueprint = Blueprint("rollouts", __name__, url_prefix="/deployments/<endpoint_name>")
TAG = "Rollouts"
_REMARK = {"reason": "The dashboards look good."}


@blueprint.post("/rollout")
@Operation(
    Role.OPERATOR,
    TAG,
    {202: RolloutView},
    body=RolloutStart,
    errors=(404, 409, 503, 507),
    example={"version": "2", "steps": [1, 10, 50, 100], "min_jobs": 200, "step_s": 600},
)
def start_rollout(endpoint_name: str) -> Response:
    """Roll out another version of the endpoint's model: it answers a growing share of the jobs."""
    return responses.document(service.start_rollout(services.current(), endpoint_name, body(RolloutStart)), 202)


@blueprint.get("/rollout")
@Operation(Role.OPERATOR, TAG, {200: RolloutView}, errors=(404, 503))
def show_rollout(endpoint_name: str) -> Response:
    """Show the active or else the latest rollout, with the figures of both versions and its history."""
    return responses.document(service.show_rollout(services.current(), endpoint_name))


@blueprint.get("/rollouts")
@Operation(Role.OPERATOR, TAG, {200: Rollouts}, errors=(404, 503))
def list_rollouts(endpoint_name: str) -> Response:
    """List the rollouts of an endpoint, newest first."""
    return responses.document(service.list_rollouts(services.current(), endpoint_name))


@blueprint.post("/rollout/pause")
@Operation(Role.OPERATOR, TAG, {200: RolloutView}, body=RolloutRemark, errors=(404, 409, 503, 507), example=_REMARK)
def pause_rollout(endpoint_name: str) -> Response:
    """Pause a rollout: the candidate keeps its share of jobs, and is still aborted if it breaks a rule."""
    wanted = body(RolloutRemark)
    return responses.document(service.steer(services.current(), endpoint_name, service.pause, wanted.reason))


@blueprint.post("/rollout/resume")
@Operation(Role.OPERATOR, TAG, {200: RolloutView}, errors=(404, 409, 503, 507))
def resume_rollout(endpoint_name: str) -> Response:
    """Resume a paused rollout: its step has its whole time again."""
    return responses.document(service.steer(services.current(), endpoint_name, service.resume))


@blueprint.post("/rollout/promote")
@Operation(Role.OPERATOR, TAG, {200: RolloutView}, body=RolloutRemark, errors=(404, 409, 503, 507), example=_REMARK)
def promote_rollout(endpoint_name: str) -> Response:
    """Promote the candidate now: the endpoint serves it alone, without refusing a job."""
    wanted = body(RolloutRemark)
    return responses.document(service.steer(services.current(), endpoint_name, service.promote, wanted.reason))


@blueprint.post("/rollout/abort")
@Operation(Role.OPERATOR, TAG, {200: RolloutView}, body=RolloutRemark, errors=(404, 409, 503, 507), example=_REMARK)
def abort_rollout(endpoint_name: str) -> Response:
    """Abort a rollout: the stable version answers all jobs again, also those that the candidate had."""
    wanted = body(RolloutRemark)
    return responses.document(service.steer(services.current(), endpoint_name, service.abort, wanted.reason))


@blueprint.post("/shadow")
@Operation(
    Role.OPERATOR,
    TAG,
    {202: ShadowView},
    body=ShadowStart,
    errors=(404, 409, 503, 507),
    example={"version": "2", "share": 0.2},
)
def start_shadow(endpoint_name: str) -> Response:
    """Let another version predict jobs after their ends; callers neither wait for it nor see it."""
    return responses.document(service.start_shadow(services.current(), endpoint_name, body(ShadowStart)), 202)


@blueprint.get("/shadow")
@Operation(Role.OPERATOR, TAG, {200: ShadowView}, errors=(404, 503))
def show_shadow(endpoint_name: str) -> Response:
    """Show the running or else the latest shadow, with its report."""
    return responses.document(service.show_shadow(services.current(), endpoint_name))


@blueprint.delete("/shadow")
@Operation(Role.OPERATOR, TAG, {200: ShadowView}, errors=(404, 503, 507))
def stop_shadow(endpoint_name: str) -> Response:
    """Stop the shadow; its report stays."""
    return responses.document(service.stop_shadow(services.current(), endpoint_name))
