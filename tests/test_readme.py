"""The documents: every setting that the code reads stands there with its default, and nothing that there is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from api.cli.command import queuecast
from api.cli.settings import CliSettings
from api.client.settings import ClientSettings
from api.settings import ApiSettings
from registry.serving_settings import ServingSettings
from registry.settings import RegistrySettings
from tests.support.environment import REPOSITORY
from workers.settings import WorkerSettings

README = REPOSITORY / "README.md"
ENVIRONMENT = (RegistrySettings, WorkerSettings, ApiSettings, CliSettings, ClientSettings)
#: Defaults that follow from other settings are described there in words.
IN_WORDS = ("", SecretStr(""), Path("data"), None)


def rows() -> dict[str, str]:
    """What stands after the name in each table row that begins with one in code quotes."""
    found = re.findall(r"^\| `(\w+)` \| (.*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(found)


def settings() -> Iterator[tuple[str, FieldInfo]]:
    for settings_class in ENVIRONMENT:
        for name, field in settings_class.model_fields.items():
            yield str(field.validation_alias or f"QUEUECAST_{name.upper()}"), field
    yield from ServingSettings.model_fields.items()


@pytest.mark.parametrize(("name", "field"), list(settings()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_setting_is_in_the_readme_with_its_default(name: str, field: FieldInfo) -> None:
    assert name in rows(), f"{name} is missing in the README's settings"
    default = field.get_default()
    if field.default_factory is None and default not in IN_WORDS:
        shown = f"{default:g}" if isinstance(default, float) else str(default)
        assert rows()[name].startswith(f"`{shown}` |"), f"the README says of {name}: {rows()[name]}"


def test_the_readme_names_no_variable_that_nothing_reads() -> None:
    known = {name for name, _ in settings()}
    read_elsewhere = set(re.findall(r"QUEUECAST_[A-Z_]+", (REPOSITORY / "Procfile").read_text(encoding="utf-8")))
    named = set(re.findall(r"QUEUECAST_[A-Z_]+", README.read_text(encoding="utf-8")))
    assert named <= known | read_elsewhere


def test_the_links_of_the_documents_lead_somewhere() -> None:
    for document in (README, REPOSITORY / "CHANGELOG.md", *REPOSITORY.glob("docs/*.md")):
        for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
            path, _, anchor = link.partition("#")
            if "://" in link:
                continue
            target = document.parent / path if path else document
            assert target.exists(), f"{document.name} leads to {link}"
            assert not anchor or anchor in anchors(target), f"{document.name} leads to {link}"


def anchors(document: Path) -> set[str]:
    """Return what links to the headings of a document end with."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_limit_of_a_setting_that_the_readme_tells_is_the_one_that_is_checked() -> None:
    for name, schema in ServingSettings.model_json_schema()["properties"].items():
        alternatives = schema.get("anyOf", [schema])
        for each in alternatives:
            for word in each.get("enum", [each["const"]] if "const" in each else []):
                assert f"`{word}`" in rows()[name], name
        limits = [(each.get("minimum", each.get("exclusiveMinimum")), each.get("maximum")) for each in alternatives]
        told = [tuple(map(float, each)) for each in re.findall(r"(?:over )?(\d+) to (\d+)", rows()[name])]
        assert told == [each for each in limits if each != (None, None)], name


def test_the_documents_name_no_variable_and_no_command_that_there_is_not() -> None:
    known = {name for name, _ in settings()}
    for document in (README, *REPOSITORY.glob("docs/*.md")):
        text = document.read_text(encoding="utf-8")
        variables = set(re.findall(r"^(QUEUECAST_[A-Z_]+)=", text, re.MULTILINE))
        assert variables <= known, f"{document.name} sets {variables - known}"
        for words in re.findall(r"(?:^|`|bin/|-- )queuecast ([a-z][a-z-]*(?: [a-z][a-z-]*)?)", text, re.MULTILINE):
            assert is_command(words.split()), f"{document.name} has `queuecast {words}`"


def is_command(words: list[str]) -> bool:
    """Tell whether words begin with a command, and all of a subcommand's name."""
    context = click.Context(queuecast)
    command = queuecast.get_command(context, words[0])
    if isinstance(command, click.Group) and len(words) > 1:
        command = command.get_command(context, words[1])
    return command is not None


def test_the_supervised_worker_of_the_documents_is_that_of_the_procfile() -> None:
    [said] = re.findall(
        r"^ExecStart=\S*/(celery .*) --hostname", (REPOSITORY / "docs/production.md").read_text(), re.MULTILINE
    )
    assert f"worker: {said} --hostname" in (REPOSITORY / "Procfile").read_text()
