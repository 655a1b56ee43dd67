"""`queuecast keys`: API keys, made next to the registry database, so that the first one needs no other."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from api.cli.errors import CliError
from api.cli.local import required_keys
from api.cli.output import Output, local_time
from api.cli.settings import load

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from registry.access.api_keys import ApiKey

_ROLES = ("client", "operator", "admin")
_FOR_NEW = "If the service has never run: queuecast keys create NAME --new-registry."


class KeysFailed(CliError):
    """The registry database could not be used, or refused."""

    code = "keys_failed"


@contextmanager
def _registry(*, may_be_new: bool) -> Iterator[Session]:
    """Yield a session of the registry. A new one is made only on request: this may be the wrong folder."""
    # Late: the other commands need no database.
    from registry import migrate
    from registry.database import default_database
    from registry.errors import RegistryAbsent, RegistryError

    try:
        if may_be_new:
            migrate.upgrade()
        migrate.refuse_absent()
        with default_database().session() as session:
            yield session
    except RegistryAbsent as error:
        raise KeysFailed(f"{error} {_FOR_NEW}", {"code": error.code}) from error
    except RegistryError as error:
        raise KeysFailed(str(error), {"code": error.code}) from error


def _with_registry(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--json`, pass it `session` and `output`, and turn errors into exit codes."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for programs.")
    @functools.wraps(function)
    def command(as_json: bool, new_registry: bool = False, **arguments: Any) -> None:
        output = Output(as_json=as_json)
        try:
            with _registry(may_be_new=new_registry) as session:
                function(session=session, output=output, **arguments)
        except CliError as error:
            output.error(error)
            sys.exit(error.exit_code)

    return command


@click.group()
def keys() -> None:
    """Make, list and revoke API keys, in the registry database itself.

    These commands need no key and no running service: a user who can write the database
    (DATABASE_URL, or registry.db in QUEUECAST_DATA_DIR) may do everything anyway. So run
    them where the API runs. Admins do the same over HTTP: /keys.

    On loopback the API asks for no keys, unless QUEUECAST_AUTH=on is set when it starts. A
    key that a request shows counts there too: with its role and limits, and refused if it
    is unknown or revoked. Requests without a key may do everything.

    \b
    A first key, and the API on another address than loopback (--new-registry: it has never run):
      queuecast keys create me --role admin --new-registry
      QUEUECAST_HOST=0.0.0.0 queuecast run
      curl -H 'Authorization: Bearer qc_…' http://…:8000/deployments
      QUEUECAST_API_KEY=qc_… queuecast deployments

    \b
    Roles; each may do what those before it may:
      client    predict, and see and cancel its own jobs
      operator  deploy and undeploy, and see and steer all jobs and dead letters
      admin     register and delete models (which runs their code), and manage keys
    """


@keys.command()
@click.argument("name")
@click.option("--role", type=click.Choice(_ROLES), default="client", show_default=True, help="What it may do.")
@click.option("--endpoint", "endpoint_names", multiple=True, metavar="NAME",
              help="The only endpoint that this client may use; again for more.  [default: all]")  # fmt: skip
@click.option("--rate", "rate_limit_per_s", type=float, metavar="N",
              help="The most requests a second, over all API processes.  [default: no limit]")  # fmt: skip
@click.option(
    "--second", is_flag=True, help="Make another key for a name that has one, to replace that without a pause."
)
@click.option("--new-registry", is_flag=True, help="Make the registry too, for a service that has never run.")
@_with_registry
def create(
    session: Session,
    output: Output,
    name: str,
    role: str,
    endpoint_names: tuple[str, ...],
    rate_limit_per_s: float | None,
    second: bool,
) -> None:
    """Make a key for NAME, and show it, this once.

    NAME is who uses it, and whom its jobs belong to: a second key of the same name is the
    same client.
    """
    from registry.access import api_keys

    key, text = api_keys.create(
        session,
        name,
        api_keys.Role(role),
        endpoint_names=endpoint_names or None,
        rate_limit_per_s=rate_limit_per_s,
        second=second,
    )
    session.commit()
    asks, said = required_keys.keys_required(load())
    if output.as_json:
        output.document({**key.document(), "key": text, "keys_asked_for": asks, "note": said})
        return
    output.line(text)
    output.note(f"This is {name}'s key, with the role {role}. Only its SHA-256 is kept: it can't be shown again.")
    output.note(said)


@keys.command(name="list")
@click.option("--revoked", is_flag=True, help="List revoked keys too.")
@_with_registry
def list_keys(session: Session, output: Output, revoked: bool) -> None:
    """List keys by name, without their texts."""
    from registry.access import api_keys

    found = api_keys.every(session, revoked=revoked)
    if output.as_json:
        output.document({"keys": [key.document() for key in found]})
        return
    columns = ["KEY", "NAME", "ROLE", "ENDPOINTS", "RATE", "CREATED", "LAST USED"]
    output.table(
        [*columns, *(["REVOKED"] if revoked else [])], [_row(key, revoked=revoked) for key in found], "No keys."
    )


def _row(key: ApiKey, *, revoked: bool) -> list[Any]:
    shown = key.document()
    row = [
        f"{key.key_id}…",
        key.name,
        key.role.value,
        "all" if key.endpoint_names is None else ", ".join(shown["endpoint_names"]),
        None if key.rate_limit_per_s is None else f"{key.rate_limit_per_s:g}/s",
        local_time(shown["created_at"]),
        local_time(shown["last_used_at"]),
    ]
    return [*row, local_time(shown["revoked_at"])] if revoked else row


@keys.command()
@click.argument("name_or_id")
@_with_registry
def revoke(session: Session, output: Output, name_or_id: str) -> None:
    """Revoke one key by its id (qc_1a2b3c4d), or all keys of a name.

    The API refuses it within a second or so (QUEUECAST_API_KEY_CACHE_S).
    """
    from registry.access import api_keys

    gone = api_keys.revoke(session, name_or_id.removesuffix("…"))
    session.commit()
    if output.as_json:
        output.document({"keys": [key.document() for key in gone]})
        return
    for key in gone:
        output.line(f"{key.key_id}… of {key.name} is revoked.")
