"""Dead letters: jobs that were given up, to look at, send again, or discard."""

from __future__ import annotations

from flask import Blueprint, Response

from api import responses, services, submitting
from api.guard import needs
from api.requests import body, query
from api.schemas import DeadLetterList, NoQuery, Replay
from registry.roles import Role
from workers import dead_letters

blueprint = Blueprint("dead_letters", __name__, url_prefix="/dead-letters")


@blueprint.get("")
@needs(Role.OPERATOR)
def list_dead_letters() -> Response:
    """List the jobs that were given up, newest first, without their inputs."""
    wanted = query(DeadLetterList)
    found = dead_letters.newest(wanted.endpoint_name, wanted.limit)
    return responses.document({"dead_letters": [letter.document(with_input=False) for letter in found]})


@blueprint.get("/<job_id>")
@needs(Role.OPERATOR)
def show_dead_letter(job_id: str) -> Response:
    """Show a job that was given up, with its input and the reason of every attempt."""
    return responses.document(dead_letters.get(job_id).document())


@blueprint.post("/<job_id>/replay")
@needs(Role.OPERATOR)
def replay_dead_letter(job_id: str) -> Response:
    """Submit its input again as a new job, to the same or to another endpoint."""
    return responses.submitted(submitting.replay(services.current(), job_id, body(Replay).endpoint_name), None)


@blueprint.delete("/<job_id>")
@needs(Role.OPERATOR)
def discard_dead_letter(job_id: str) -> Response:
    """Discard it for good."""
    query(NoQuery)
    dead_letters.discard(job_id)
    return responses.nothing()
