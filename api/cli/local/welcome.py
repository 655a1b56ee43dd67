"""What `queuecast run` says once the service is there: where to look, and three calls to copy."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from api.cli.client import Client, Document, path_of
from api.cli.errors import RequestRefused
from api.cli.local import webhook_settings
from api.cli.output import to_json
from api.cli.settings import CliSettings

_DEFAULT_REDIS_PORT = 6390


def welcome(settings: CliSettings, client: Client) -> str:
    """Return the text, with a real endpoint and an input that it takes.

    Raises:
        CliError: the service doesn't answer.
    """
    try:
        views = client.get("/deployments")["deployments"]
    except RequestRefused as refusal:
        return f"{_addresses(settings, 'only those with a key may know')}\nCalls need a key: {refusal}"
    endpoints = ", ".join(f"{view['endpoint_name']} ({view['status']})" for view in views) or "nothing yet"
    return f"{_addresses(settings, endpoints)}\n" + "\n".join(_calls(settings, client, views))


def _addresses(settings: CliSettings, endpoints: str) -> str:
    lines = [
        "Queuecast is ready. Ctrl-C stops it.",
        "",
        f"  Console            {settings.own_url}/console",
        f"  API and its docs   {settings.own_url}/docs",
        f"  Flower             {settings.flower_url}",
        f"  Data               {settings.data_dir.absolute()}",
        f"  Webhooks           {_webhooks(settings)}",
        f"  Deployed           {endpoints}",
        "",
    ]
    return "\n".join(lines)


def _webhooks(settings: CliSettings) -> str:
    """Return what receivers need to check that they come from here."""
    if os.environ.get("QUEUECAST_WEBHOOK_SECRETS"):
        return "signed with QUEUECAST_WEBHOOK_SECRETS"
    return f"signed with the secret in {webhook_settings.secret_file(settings)}"


def _calls(settings: CliSettings, client: Client, views: list[Document]) -> list[str]:
    callable_ones = [view for view in views if view["status"] in ("active", "asleep", "degraded")]
    if not callable_ones:
        return ["Nothing takes predictions yet; see: queuecast models list, queuecast deploy --help"]
    view = callable_ones[0]
    example = client.get(path_of("models", view["model_name"], "versions", view["version"])).get("input_example")
    return [
        "Three ways to use it, to copy into another terminal in this folder:",
        "",
        "  # HTTP: wait for the outcome, or leave out the Prefer header and ask for the job later",
        f"  {_curl(settings, view['endpoint_name'], example)}",
        "",
        "  # Celery, from any Python program",
        f"  {_celery(settings, view['endpoint_name'], example)}",
        "",
        "  # Flower: every job with its arguments, state, runtime and worker",
        f"  {settings.flower_url}/tasks        or: {_flower_curl(settings)}",
        "",
    ]


def _curl(settings: CliSettings, endpoint_name: str, example: Any) -> str:
    body = shlex.quote(to_json({"input": example}))
    key = ' -H "Authorization: Bearer $QUEUECAST_API_KEY"' if settings.api_key.get_secret_value() else ""
    return f"curl -s -H 'Prefer: wait=10'{key} {settings.own_url}{path_of('predict', endpoint_name)} -d {body}"


def _flower_curl(settings: CliSettings) -> str:
    password = ' -u "queuecast:$QUEUECAST_FLOWER_PASSWORD"' if settings.flower_password.get_secret_value() else ""
    return f"curl -s{password} {shlex.quote(settings.flower_url + '/api/tasks?limit=3')}"


def _celery(settings: CliSettings, endpoint_name: str, example: Any) -> str:
    call = f"predict.delay({_python_text(endpoint_name)}, {_python_text(example)})"
    code = f"from queuecast import predict; print({call}.get(timeout=10))"
    return f"{_redis_variable(settings)}{_python()} -c {shlex.quote(code)}"


def _python_text(value: Any) -> str:
    """Return a literal with double quotes if it can be had: the shell wants the single ones."""
    text = repr(value)
    return text if '"' in text else text.replace("'", '"')


def _python() -> str:
    program = Path(sys.executable)
    return str(program.relative_to(Path.cwd())) if program.is_relative_to(Path.cwd()) else str(program)


def _redis_variable(settings: CliSettings) -> str:
    if not settings.runs_own_redis:
        return ""  # it stands in the environment already
    usual = settings.redis_port == _DEFAULT_REDIS_PORT
    return "" if usual else f"QUEUECAST_REDIS_URL={settings.own_redis_url} "
