"""The options of `queuecast models register` and `import-mlflow` that name the environment of a version."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from api.cli.client import Document
from api.cli.output import Output

_Command = TypeVar("_Command", bound=Callable[..., Any])
#: What each line of a lock has.
_HASH = "--hash="


def options(command: _Command) -> _Command:
    """Give a command the options --requirements and --python."""
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    with_python = click.option(
        "--python", help="The Python that it runs in, e.g. 3.12; needs an environment.  [default: the service's]"
    )
    with_requirements = click.option(
        "--requirements", type=file, help="Run it in these packages, of a requirements.txt or a lock with hashes."
    )
    return with_requirements(with_python(command))


def wanted(python: str | None, requirements: Path | None, *, own: bool = False) -> Document | None:
    """Return the environment that the options name; None for the workers' own. Raises click.UsageError."""
    if own and requirements is not None:
        raise click.UsageError("Name either --own-environment or --requirements.")
    if not own and requirements is None:
        if python is not None:
            raise click.UsageError("--python: name the packages too, by --requirements.")
        return None
    named: Document = {} if python is None else {"python": python}
    if requirements is None:
        return {**named, "from_folder": True}
    text = requirements.read_text(encoding="utf-8")
    if _HASH in text:
        return {**named, "lock": text}
    lines = [line.strip() for line in text.splitlines()]
    return {**named, "requirements": [line for line in lines if line and not line.startswith("#")]}


def note(output: Output, version: Document) -> None:
    """Show that a version has an environment."""
    if sha256 := version.get("environment_sha256"):
        output.note(f"It runs in its own environment, {sha256[:12]}, which workers build at its first deploy.")
