"""The documents: every setting, error code and key of the code stands there, and nothing that there is not."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

import api.errors
import registry.errors
import workers.errors
from api.cli.command import queuecast
from api.cli.settings import CliSettings
from api.client.transport.settings import ClientSettings
from api.settings import ApiSettings
from registry.serving.settings import ServingSettings
from registry.settings import RegistrySettings
from tests.support.documentation import DOCS, README, pages, text_of
from tests.support.service.environment import REPOSITORY
from workers import keys
from workers.queues.naming import queue_names
from workers.settings import WorkerSettings
from workers.webhooks.settings import WebhookSettings

ENVIRONMENT = (RegistrySettings, WorkerSettings, WebhookSettings, ApiSettings, CliSettings)
#: Defaults that follow from other settings are described there in words.
IN_WORDS = ("", SecretStr(""), Path("data"), None)
#: Pages that speak of the past: what they name may be gone.
OF_THE_PAST = (DOCS / "decisions.md",)
#: Where a path of a document may begin: `workers/jobs` may be `jobs/` in a text about workers.
PACKAGES = ("api", "bench", "docs", "registry", "tests", "workers")
ROOTS = (REPOSITORY, REPOSITORY / "workers")
#: Files whose errors, help and comments name documents.
SUFFIXES_OF_CODE = (".py", ".lua", ".sh", ".html", ".js", ".yml", ".yaml", ".acl")
#: What Flask itself refuses.
CODES_OF_FLASK = {"not_found", "method_not_allowed", "body_too_large", "internal_error"}
#: The most lines that one reads to the end.
LINES_OF_README = 250


def rows(name: str) -> dict[str, str]:
    """What stands after the name in each table row of a page that begins with one in code quotes."""
    return dict(re.findall(r"^\| `(\w+)` \| (.*)$", text_of(name), re.MULTILINE))


def settings() -> Iterator[tuple[str, FieldInfo]]:
    for settings_class in ENVIRONMENT:
        for name, field in settings_class.model_fields.items():
            yield str(field.validation_alias or f"QUEUECAST_{name.upper()}"), field
    yield from ServingSettings.model_fields.items()


@pytest.mark.parametrize(("name", "field"), list(settings()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_setting_is_in_the_reference_with_its_default(name: str, field: FieldInfo) -> None:
    found = rows("settings.md")
    assert name in found, f"{name} is missing in the reference of settings"
    default = field.get_default()
    if field.default_factory is None and default not in IN_WORDS:
        shown = f"{default:g}" if isinstance(default, float) else str(default)
        assert found[name].startswith(f"`{shown}` |"), f"the reference says of {name}: {found[name]}"


def test_the_client_reads_what_the_command_line_reads_with_the_same_defaults() -> None:
    for each in dataclasses.fields(ClientSettings):
        default = CliSettings.model_fields[each.name].get_default()
        assert each.default == (default.get_secret_value() if isinstance(default, SecretStr) else str(default))


def test_no_document_names_a_variable_that_nothing_reads() -> None:
    known = {name for name, _ in settings()}
    read_elsewhere = set(re.findall(r"QUEUECAST_[A-Z_]+", (REPOSITORY / "Procfile").read_text(encoding="utf-8")))
    for document in pages():
        named = set(re.findall(r"QUEUECAST_[A-Z_]*[A-Z]", document.read_text(encoding="utf-8")))
        assert named <= known | read_elsewhere, f"{document.name} names {named - known - read_elsewhere}"


def test_the_links_of_the_documents_lead_somewhere() -> None:
    for document in (*pages(), REPOSITORY / "CHANGELOG.md"):
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


def test_guides_name_extras_as_they_are_installed_in_a_clone_and_elsewhere() -> None:
    guides = (REPOSITORY / "docs").rglob("*.md")
    assert [each.name for each in guides if "install -e '.[" in each.read_text(encoding="utf-8")] == []


def test_every_path_that_a_document_names_is_there() -> None:
    missing = {
        f"{document.relative_to(REPOSITORY)}: {path}"
        for document in pages()
        if document not in OF_THE_PAST
        for path in paths_in(document.read_text(encoding="utf-8"))
        if not is_there(path)
    }
    assert missing == set()


def paths_in(text: str) -> Iterator[str]:
    """Yield each path in code quotes that begins with a folder of the code, its tests or its documents."""
    folders = {*PACKAGES, *(each.name for each in (REPOSITORY / "workers").iterdir() if each.is_dir())}
    for span in re.findall(r"`([^`\n]+)`", text):
        path = span.partition("::")[0].partition("#")[0]
        if re.fullmatch(r"[\w.-]+/[\w./-]*", path) and path.partition("/")[0] in folders:
            yield path


def is_there(path: str) -> bool:
    """Tell whether a document names a file, a folder, or a module without its ending."""
    return any((root / f"{path}{ending}").exists() for root in ROOTS for ending in ("", ".py"))


def test_every_document_that_the_code_names_is_there() -> None:
    code = [each for name in PACKAGES for each in (REPOSITORY / name).rglob("*") if each.suffix in SUFFIXES_OF_CODE]
    missing = {
        f"{each.relative_to(REPOSITORY)}: {path}"
        for each in (*code, REPOSITORY / "Makefile", REPOSITORY / "docker-compose.yml", REPOSITORY / "pyproject.toml")
        for path in re.findall(r"\bdocs/[\w/-]+\.(?:md|json|yml|acl|png)\b", each.read_text(encoding="utf-8"))
        if not (REPOSITORY / path).exists()
    }
    assert missing == set()


def test_the_index_names_every_page() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([^)\s]+\.md)\)", index))
    assert {str(each.relative_to(DOCS)) for each in DOCS.rglob("*.md")} - {"README.md"} <= linked


def test_the_readme_can_be_read_to_the_end() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= LINES_OF_README


def error_classes() -> Iterator[type[Exception]]:
    for module in (api.errors, registry.errors, workers.errors):
        for _, each in inspect.getmembers(module, inspect.isclass):
            if issubclass(each, Exception) and each.__module__ == module.__name__:
                yield each


def is_answered(error: type[Exception]) -> bool:
    """Tell whether this class, or one that it extends, has an HTTP status; `ComeBackLater` itself is never raised."""
    return error is not api.errors.ComeBackLater and any(each in api.errors.STATUS for each in error.__mro__)


def test_every_error_code_is_in_the_reference_with_its_status() -> None:
    text = text_of("errors.md").partition("## Failed jobs")[0]
    told = set(re.findall(r"^\| `(\w+)` \| (\d+) \|", text, re.MULTILINE))
    answered = {
        (str(vars(each)["code"]), str(api.errors.status_of(each.__new__(each))))
        for each in error_classes()
        if is_answered(each)
    }
    assert answered <= told
    assert {code for code, _ in told} <= {code for code, _ in answered} | CODES_OF_FLASK


def test_every_reason_for_which_jobs_fail_is_in_the_reference() -> None:
    text = text_of("errors.md").partition("## Failed jobs")[2]
    told = set(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", text, re.MULTILINE))
    failures = [each for each in error_classes() if issubclass(each, workers.errors.JobFailed)]
    assert told == {(str(vars(each)["code"]), each.__name__) for each in failures}


def test_every_redis_key_is_in_the_reference() -> None:
    text = text_of("redis-keys.md")
    constants = [value for value in vars(keys).values() if isinstance(value, str) and value.startswith("queuecast:")]
    made = [
        str(function(*("" for _ in inspect.signature(function).parameters)))
        for name, function in inspect.getmembers(keys, inspect.isfunction)
        if function.__module__ == keys.__name__ and name not in {"latencies", "minute"}
    ]
    made += [each[:-2] for each in (keys.latencies("", 0), keys.minute("", 0))]
    names = {*constants, *made, *(each.partition(":")[0] for each in queue_names(""))}
    assert {each for each in names - {keys.NOTHING} if f"`{each}" not in text} == set()


def test_every_script_that_looks_at_a_state_is_in_the_reference_of_job_states() -> None:
    text = text_of("job-states.md")
    scripts = (REPOSITORY / "workers/jobs/lua").glob("*.lua")
    by_state = {each for each in scripts if re.search(r"^--@ parts .*\bjobs/status\b", each.read_text(), re.MULTILINE)}
    assert {each.name for each in by_state if f"`{each.relative_to(REPOSITORY)}`" not in text} == set()
    assert len(by_state) > 5


def test_every_limit_of_a_setting_in_the_reference_is_the_one_that_is_checked() -> None:
    found = rows("settings.md")
    for name, schema in ServingSettings.model_json_schema()["properties"].items():
        alternatives = schema.get("anyOf", [schema])
        for each in alternatives:
            for word in each.get("enum", [each["const"]] if "const" in each else []):
                assert f"`{word}`" in found[name], name
        limits = [(each.get("minimum", each.get("exclusiveMinimum")), each.get("maximum")) for each in alternatives]
        told = [tuple(map(float, each)) for each in re.findall(r"(?:over )?(\d+) to (\d+)", found[name])]
        assert told == [each for each in limits if each != (None, None)], name


def test_the_documents_name_no_variable_and_no_command_that_there_is_not() -> None:
    known = {name for name, _ in settings()}
    for document in pages():
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
    unit = (DOCS / "systemd" / "queuecast-worker@.service").read_text(encoding="utf-8")
    [said] = re.findall(r"^ExecStart=\S*/(queuecast \w+)", unit, re.MULTILINE)
    assert f"worker: {said}\n" in (REPOSITORY / "Procfile").read_text()
