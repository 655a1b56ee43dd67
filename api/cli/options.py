"""Options that many commands share, and the values that they take."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from api.cli.client import Client
from api.cli.errors import CliError
from api.cli.output import Output
from api.cli.settings import load

Command = Callable[..., None]


def calls_service(function: Command) -> Command:
    """Give a command `--url`, `--api-key` and `--json`, pass it `client` and `output`; errors become exit codes."""

    @click.option("--url", help="Where the service answers.  [default: QUEUECAST_URL, or http://127.0.0.1:8000]")
    @click.option("--api-key", help="The key to show the service.  [default: QUEUECAST_API_KEY, which no `ps` shows]")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for programs.")
    @functools.wraps(function)
    def command(url: str | None, api_key: str | None, as_json: bool, **arguments: Any) -> None:
        output = Output(as_json=as_json)
        try:
            settings = load()
            client = Client(url or settings.service_url, api_key or settings.api_key.get_secret_value())
            try:
                function(client=client, output=output, **arguments)
            finally:
                client.close()
        except CliError as error:
            output.error(error)
            sys.exit(error.exit_code)

    return command


def waits(what: str, default_timeout_s: float) -> Callable[[Command], Command]:
    """Give a command `--wait/--no-wait` and `--timeout`."""

    def decorate(function: Command) -> Command:
        function = click.option(
            "--timeout",
            "timeout_s",
            type=click.FloatRange(min=0, min_open=True),
            default=default_timeout_s,
            show_default=True,
            help="Seconds to wait; then the exit code is 4.",
        )(function)
        return click.option("--wait/--no-wait", default=True, show_default=True, help=f"Wait {what}.")(function)

    return decorate


class JsonValue(click.ParamType[Any]):
    """JSON, or `@FILE` or `-` (stdin) that hold it."""

    name = "JSON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the parsed value."""
        if not isinstance(value, str):
            return value
        try:
            return json.loads(self.text_of(value))
        except OSError as error:
            self.fail(f"{value[1:]}: {error.strerror}", param, ctx)
        except ValueError as error:
            self.fail(f"{value[:60]!r} is not JSON ({error}). Quote it for the shell: '[0.5, 0.8, 0.2]'", param, ctx)

    @staticmethod
    def text_of(value: str) -> str:
        """Return what the value holds. Raises OSError."""
        if value == "-":
            return sys.stdin.read()
        return Path(value[1:]).read_text(encoding="utf-8") if value.startswith("@") else value


class Assignment(click.ParamType[tuple[str, Any]]):
    """`NAME=VALUE`, where the value is JSON or else text."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        """Return name and value."""
        if isinstance(value, tuple):
            return value
        name, equals, text = value.partition("=")
        if not equals or not name:
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        try:
            return name, json.loads(text)
        except ValueError:
            return name, text
