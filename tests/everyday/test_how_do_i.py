"""docs/guides/how-do-i.md: each of its tasks has a command that there is, and a test that follows the way it names."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.everyday.conftest import Follow
from tests.support.documentation import documented_commands, page, text_of
from tests.support.service import commands
from tests.support.service.environment import REPOSITORY

PAGE = "how-do-i.md"


class Way(NamedTuple):
    """The way of a task: the blocks of a guide, or what a test does in a browser or with files of a guide."""

    guide: str
    blocks: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


#: Which test goes the way of each task.
WAYS = {
    1: Way("changing-deployments.md", ("change settings",)),
    2: Way("changing-deployments.md", ("a limit that is too low", "take the limit back")),
    3: Way(
        "security.md",
        ("create a key", "show the key", "ask for keys"),
        ("test_an_api_that_is_started_with_auth_on_asks_for_keys",),
    ),
    4: Way("changing-deployments.md", ("undeploy what can not be loaded",)),
    5: Way("changing-deployments.md", ("undeploy and deploy again", "begin anew")),
    6: Way("failed-jobs.md", ("why", "run again"), ("test_a_failed_job_is_read_and_run_again_with_an_edited_input",)),
    7: Way("failed-jobs.md", ("empty the queue",), ("test_a_queue_is_emptied_after_a_question",)),
    8: Way("changing-deployments.md", ("go back",), ("test_the_history_page_leads_back_after_a_confirmation",)),
    9: Way("changing-deployments.md", ("look back",)),
    10: Way(
        "figures.md",
        ("an hour of an endpoint", "a day of an endpoint, for a program"),
        ("test_charts_are_drawn_and_a_table_says_the_same",),
    ),
    11: Way("disk.md", ("delete a version", "prune the artifacts")),
    12: Way("console.md", (), ("test_a_version_is_uploaded_with_its_progress_deployed_and_deleted",)),
    13: Way("csv.md", ("predict the table", "go on where it stopped")),
    14: Way("models.md", ("train on a data frame and register", "register a file with rows as the example")),
    15: Way("fields.md", ("look a column and a metric up",)),
    16: Way(
        "behind-a-proxy.md",
        ("look through the proxy",),
        ("test_a_job_is_submitted_waited_for_and_found_at_the_address_that_is_named",),
    ),
    17: Way("add-a-worker-machine.md", ("start the worker", "see both workers")),
    18: Way("moving-to-postgresql.md", ("copy the registry",)),
    19: Way("figures.md", ("fail if a deployment is not well", "write the script of all checks")),
    20: Way("operations.md", ("see what each process is", "see what the hosts take")),
}


@dataclass(frozen=True)
class Row:
    """A row of the page: what it says to do, and where that is explained."""

    question: str
    do: str
    links: tuple[str, ...]

    @property
    def code(self) -> list[str]:
        return re.findall(r"`([^`]+)`", self.do)


def row(cells: list[str]) -> Row:
    question, do, explained = cells
    return Row(question, do.replace("\\|", "|"), tuple(re.findall(r"\]\(([^)\s]+)\)", explained)))


def tables() -> tuple[dict[int, Row], list[Row]]:
    """Return the numbered tasks, and the further ones."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text_of(PAGE).splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in each] for each in rows if "how do I …" not in each[0] + each[1]]
    numbered = {int(each[0]): row(each[1:]) for each in cells if len(each) == 4}
    return numbered, [row(each) for each in cells if len(each) == 3]


TASKS, MORE = tables()
NUMBERS = sorted(WAYS)


class Module(NamedTuple):
    """What a test module says: the names of its tests, and all its texts."""

    tests: frozenset[str]
    texts: frozenset[str]


@cache
def modules() -> tuple[Module, ...]:
    """Return the modules of everyday and browser tests, without this one's table of ways."""
    paths = [each for room in ("everyday", "browser") for each in (REPOSITORY / "tests" / room).glob("*.py")]
    return tuple(module(path) for path in paths)


def module(path: Path) -> Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tests = frozenset(each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef))
    read = (each for statement in tree.body if not is_table(statement) for each in ast.walk(statement))
    texts = (each.value for each in read if isinstance(each, ast.Constant) and isinstance(each.value, str))
    return Module(tests, frozenset(text.removeprefix("guides/") for text in texts))


def is_table(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "WAYS"


def anchored_sections(name: str) -> str:
    """Return the sections of a page to which the page's tasks link."""
    text = text_of(name)
    links = [link.partition("#") for each in TASKS.values() for link in each.links]
    return "\n".join(section(text, anchor) for path, _, anchor in links if Path(path).name == name)


def section(text: str, anchor: str) -> str:
    """Return what stands below the heading of an anchor, up to the next heading of its level."""
    # In blocks of code `#` begins no heading.
    outline = re.sub(r"^ *```.*?^ *```", lambda block: "." * len(block[0]), text, flags=re.DOTALL | re.MULTILINE)
    for heading in re.finditer(r"^(#+) (.*)$", outline, re.MULTILINE):
        if re.sub(r"[^\w -]", "", heading[2].lower()).replace(" ", "-") == anchor:
            end = re.compile(rf"^#{{1,{len(heading[1])}}} ", re.MULTILINE).search(outline, heading.end())
            return text[heading.end() : end.start() if end else None]
    return ""


def test_there_are_twenty_tasks_and_each_has_its_way() -> None:
    assert sorted(TASKS) == NUMBERS == list(range(1, 21))
    assert len(MORE) >= 10
    for each in (*TASKS.values(), *MORE):
        assert each.question.endswith("?")
        assert each.links, each.question
        assert each.code or "**" in each.do or each in MORE, each.question


@pytest.mark.parametrize(
    "command",
    sorted({each for found in (*TASKS.values(), *MORE) for code in found.code for each in commands.commands_in(code)}
           | {code.partition("| queuecast ")[2] for each in TASKS.values() for code in each.code if "| " in code}),
)  # fmt: skip
def test_every_command_of_the_page_is_one(command: str) -> None:
    commands.parse(command)


def test_every_button_of_the_page_is_in_the_console() -> None:
    templates = (REPOSITORY / "api/console/templates").rglob("*.html")
    html = "\n".join(each.read_text(encoding="utf-8") for each in templates)
    buttons = [label for each in TASKS.values() for label in re.findall(r"\*\*(.+?)\*\*", each.do)]
    assert len(buttons) >= 4
    assert [label for label in buttons if f">{label}<" not in html] == []


@pytest.mark.parametrize("number", NUMBERS)
def test_a_task_leads_to_the_section_with_its_blocks(number: int) -> None:
    way = WAYS[number]
    assert way.guide in {Path(link.partition("#")[0]).name for link in TASKS[number].links}
    sections = anchored_sections(way.guide)
    for block in way.blocks:
        assert f"```sh\n# {block}\n" in sections, block


@pytest.mark.parametrize("number", NUMBERS)
def test_the_command_of_a_task_is_the_one_of_its_blocks(number: int) -> None:
    way = WAYS[number]
    said = "\n".join(documented_commands(way.guide, block) for block in way.blocks)
    for code in TASKS[number].code:
        # Up to the first name: in the page that is another one than in the blocks.
        command = re.search(r"(?:queuecast|python -m workers\.serve|ps -eo)(?: [a-z,-]+)?", code)
        assert not command or command[0] in said, code
        for option in re.findall(r"--[a-z-]+", code):
            assert option in said, code


@pytest.mark.parametrize("number", NUMBERS)
def test_a_test_goes_the_way_of_each_task(number: int) -> None:
    way = WAYS[number]
    assert way.blocks or way.tests
    for block in way.blocks:
        assert [each for each in modules() if {way.guide, block} <= each.texts], f"no test follows {block!r}"
    for name in way.tests:
        assert [each for each in modules() if name in each.tests], f"there is no {name}"


def test_a_column_and_a_metric_are_looked_up(follow: Follow) -> None:
    said = follow("fields.md", "look a column and a metric up")
    assert re.search(
        r"^ +P95 15M +95th percentile of whole-job time \(ms\) over the last 15 minutes$", said, re.MULTILINE
    )
    assert "# HELP queuecast_queue_depth Jobs that wait, in the queue or in a worker" in said
    text = page("fields.md").read_text(encoding="utf-8")
    assert "| P95 15M | 95th percentile of whole-job time (ms) over the last 15 minutes |" in text
    assert "| `queuecast_queue_depth` | Jobs that wait, in the queue or in a worker |" in text
