"""docs/reference/fields.md explains every field, column and metric, with the words of the OpenAPI document."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from api.aliases.schemas import AliasView
from api.cli.columns import MEANINGS
from api.cli.command import queuecast
from api.console import headings
from api.deployments.schemas import DeploymentChange, DeploymentFigures, DeploymentView
from api.jobs.schemas import FailedAttempt, JobDocument, JobError
from api.openapi import fields
from api.predictions.schemas import Outcome, QueuePlace, Timing
from tests.support.documentation import text_of
from tests.support.service.environment import REPOSITORY
from workers import metric_names
from workers.measures.reports import VersionReport
from workers.metric_names import Metric

PAGE = text_of("fields.md")
SCHEMAS: dict[str, type[BaseModel]] = {
    "A deployment": DeploymentView,
    "Figures over time": DeploymentFigures,
    "A change of a deployment": DeploymentChange,
    "An alias": AliasView,
    "A job": JobDocument,
    "The queue position of a job": QueuePlace,
    "The error of a job": JobError,
    "An attempt that was lost": FailedAttempt,
    "An outcome": Outcome,
    "The timing of an outcome": Timing,
}
#: Columns are upper case, with blanks.
COLUMN = re.compile(r"[A-Z][A-Z0-9 ]+")


def rows(title: str) -> dict[str, str]:
    """The rows of a section: field and meaning."""
    [section] = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    found = re.findall(r"^\| `?([^`|]+?)`? \| (.+) \|$", section, re.MULTILINE)
    assert len(found) == len(dict(found))
    return {name: meaning for name, meaning in found if name not in {"field", "column", "heading", "metric"}}


@pytest.mark.parametrize("title", SCHEMAS)
def test_every_field_has_the_meaning_that_the_openapi_document_gives_it(title: str) -> None:
    schema = SCHEMAS[title].model_json_schema()
    fields.describe(SCHEMAS[title].__name__, schema)
    described = {name: each["description"].rstrip(".") for name, each in schema["properties"].items()}
    assert described.items() <= rows(title).items()
    assert rows(title).keys() - described.keys() <= {"at"}


def test_every_field_of_a_worker_is_explained() -> None:
    assert rows("A worker of a deployment").keys() == {"worker", *VersionReport.__annotations__}


def columns(module: Path) -> Iterator[str]:
    """The columns of the tables that a module of commands shows: in its lists and tuples of upper-case texts."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.List | ast.Tuple):
            texts = [each.value for each in node.elts if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            if len(texts) > 1 and all(COLUMN.fullmatch(each) or not each for each in texts):
                yield from filter(None, texts)


def test_every_column_of_the_command_line_is_explained() -> None:
    modules = [module for room in ("local", "remote") for module in (REPOSITORY / "api/cli" / room).rglob("*.py")]
    found = {column for module in modules for column in columns(module)}
    assert len(found) > 30
    assert found - MEANINGS.keys() == set()
    assert rows("Columns of `queuecast`") == MEANINGS


@pytest.mark.parametrize(
    "command", ["status", "jobs list", "history", "models list", "models show", "webhooks list", "keys list"]
)
def test_help_explains_the_columns_of_a_command(command: str) -> None:
    shown = CliRunner().invoke(queuecast, [*command.split(), "--help"]).stdout
    explained = dict(re.findall(r"^ +([A-Z0-9 ]+?) {2,}(.+)$", shown.partition("Columns:\n")[2], re.MULTILINE))
    assert len(explained) >= 4
    assert explained.items() <= MEANINGS.items()


def test_every_heading_of_the_console_is_explained() -> None:
    assert rows("Headings of the console") == headings.MEANINGS


def test_every_metric_is_explained_with_its_help_text() -> None:
    metrics = {each.name: each.text.rstrip(".") for each in vars(metric_names).values() if isinstance(each, Metric)}
    assert rows("Metrics") == metrics
