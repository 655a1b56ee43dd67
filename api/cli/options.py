"""Options that many commands share, and the values that they take."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from api.cli.client import Client
from api.cli.errors import CliError
from api.cli.output import Output
from api.cli.settings import load
from api.errors import JsonInvalid
from api.strict_json import json_text
from registry.serving.settings import hosts_range

Command = Callable[..., None]
#: Rows of a CSV file that show its types and which columns have missing values.
_EXAMPLE_ROWS = 100_000
_Parsed = TypeVar("_Parsed")
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
#: Who writes such a word means a file, also if there is none.
_FILE_ENDINGS = (".json", ".ndjson", ".jsonl", ".csv", ".txt")


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
        return parsed(value, json_text, param, ctx)


class Example(JsonValue):
    """An input example: JSON, or `@FILE.csv`, whose rows pandas reads."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the parsed value, or a data frame."""
        if not isinstance(value, str) or not (value.startswith("@") and value.lower().endswith(".csv")):
            return super().convert(value, param, ctx)
        try:
            # Not of the command's own libraries: a data frame says which types a program sees in the file.
            pandas = import_module("pandas")
        except ModuleNotFoundError:
            self.fail("pandas, which reads a CSV file as an example, is not installed here: pip install pandas.")
        try:
            return pandas.read_csv(value[1:], nrows=_EXAMPLE_ROWS)
        except (OSError, ValueError) as error:
            self.fail(f"{value[1:]}: {error}", param, ctx)


def parsed(
    value: str,
    parse: Callable[[bytes, str], _Parsed],
    param: click.Parameter | None = None,
    ctx: click.Context | None = None,
) -> _Parsed:
    """Return what `parse` makes of the content of an argument and of its name. Raises click.BadParameter."""
    try:
        return parse(_content_of(value), _name_of(value))
    except OSError as error:
        raise click.BadParameter(f"{value[1:] or '@'}: {error.strerror}", ctx, param) from error
    except JsonInvalid as error:
        raise click.BadParameter(f"{error} {_advice(value)}".strip(), ctx, param) from error


def _content_of(value: str) -> bytes:
    """Return what an argument holds, as bytes: a file needn't have the terminal's encoding. Raises OSError."""
    if value == "-":
        return sys.stdin.buffer.read()
    return Path(value[1:]).read_bytes() if value.startswith("@") else os.fsencode(value)


def _name_of(value: str) -> str:
    if value == "-":
        return "stdin"
    return value[1:] if value.startswith("@") else repr(value[:60])


def _advice(value: str) -> str:
    """What to do about an argument that is not JSON."""
    if value == "-" or value.startswith("@"):
        return ""
    if _names_a_file(value):
        return f"To read the file, write @{value}"
    return "Quote it for the shell: '[0.5, 0.8, 0.2]'"


def _names_a_file(value: str) -> bool:
    try:
        return Path(value).is_file() or value.endswith(_FILE_ENDINGS)
    except (OSError, ValueError):  # too long for a name, or with a NUL
        return False


class Duration(click.ParamType[float]):
    """A time as people write it: `90s`, `10m`, `2h`, `1d`, or seconds."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        if isinstance(value, float):
            return value
        found = _DURATION.fullmatch(value)
        if found is None:
            self.fail(f"{value!r} is not a time such as 90s, 10m, 2h or 1d", param, ctx)
        return float(found[1]) * _UNITS_S[found[2] or "s"]


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
            return name, json_text(os.fsencode(text))
        except JsonInvalid:
            return name, text


class Hosts(click.ParamType[int | dict[str, int]]):
    """A number of model hosts, or a range of them such as `0-4`."""

    name = "N|MIN-MAX"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | dict[str, int]:
        """Return the number, or the range as the API takes it."""
        if not isinstance(value, str):
            return cast("int | dict[str, int]", value)
        if value.isdecimal():
            return int(value)
        return hosts_range(value) or self.fail(f"{value!r} is neither a number nor a range such as 0-4", param, ctx)
