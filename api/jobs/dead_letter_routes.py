"""Routes of dead letters, which are jobs that were given up: show, replay and discard them."""

from __future__ import annotations

from flask import Blueprint, Response

from api.auth import identity
from api.http.flask_app import requests, responses
from api.http.flask_app.requests import body, query
from api.http.route import Operation
from api.http.schema import NoQuery
from api.jobs import replays
from api.jobs.schemas import DeadLetter, DeadLetterList, DeadLetters, Replay
from api.predictions.responses import submitted
from api.predictions.schemas import Accepted
from api.process import services
from registry.roles import Role
from workers.jobs import dead_letters

blueprint = Blueprint("dead_letters", __name__, url_prefix="/dead-letters")


@blueprint.get("")
@Operation(Role.OPERATOR, "Dead letters", {200: DeadLetters}, query=DeadLetterList, errors=(503,))
def list_dead_letters() -> Response:
    """List the jobs that were given up, or failed jobs whose inputs are kept; newest first, without their inputs."""
    wanted = query(DeadLetterList)
    found = dead_letters.newest(wanted.endpoint_name, wanted.limit, wanted.kind)
    return responses.document({"dead_letters": [letter.document(with_input=False) for letter in found]})


@blueprint.get("/<job_id>")
@Operation(Role.OPERATOR, "Dead letters", {200: DeadLetter}, errors=(404, 503))
def show_dead_letter(job_id: str) -> Response:
    """Show a job that was given up, or a failed one, with its input and the reason of every lost attempt."""
    return responses.document(dead_letters.get(job_id).document())


@blueprint.post("/<job_id>/replay")
@Operation(
    Role.OPERATOR,
    "Dead letters",
    {202: Accepted},
    body=Replay,
    errors=(404, 409, 429, 503),
    example={},
)
def replay_dead_letter(job_id: str) -> Response:
    """Submit its input again as a new job, to the same or to another endpoint."""
    wanted = body(Replay)
    replayed = replays.replay(services.current(), identity.current(), job_id, wanted.endpoint_name)
    return responses.of(submitted(requests.current(), replayed, None))


@blueprint.delete("/<job_id>")
@Operation(Role.OPERATOR, "Dead letters", {204: None}, errors=(404, 422, 503))
def discard_dead_letter(job_id: str) -> Response:
    """Discard it for good."""
    query(NoQuery)
    dead_letters.discard(job_id)
    return responses.nothing()
