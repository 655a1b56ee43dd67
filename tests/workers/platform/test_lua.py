"""Scripts in files: what they take from other files and from Python, and that Redis can read each of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
import redis
from hypothesis import strategies

from tests.support.scripts import Given
from tests.support.service.environment import REPOSITORY
from workers import keys
from workers.errors import QueueStoreFull
from workers.platform.lua import Lua, _collect, in_lua, run_in_parts, script
from workers.platform.redis.client import translated_errors

WORKERS = REPOSITORY / "workers"
FILES = sorted(WORKERS.rglob("*.lua"))
#: The rooms that have scripts, top to ground; a script takes nothing from a room above its own.
FLOORS = (
    ("engine/intake", "engine/upkeep"), ("journal",), ("webhooks", "successors", "pipelines", "endpoints"),
    ("jobs",), ("jobs/endings",), ("broker",), ("measures",), ("queues",), ("platform",),
)  # fmt: skip
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def of(path: Path) -> Lua:
    return Lua(".".join(path.parent.parent.relative_to(REPOSITORY).parts), path.stem)


def directives(path: Path, what: str) -> list[str]:
    return re.findall(rf"^--@ {what} (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_a_script_is_registered_once_and_survives_its_loss(store: redis.Redis) -> None:
    answer = script(store, Given("", "return 7"))
    assert answer is script(store, Given("", "return 7"))
    assert answer() == 7
    store.script_flush()
    assert answer() == 7


def test_a_script_that_needs_memory_says_that_redis_is_full(store: redis.Redis, fill: Callable[[], None]) -> None:
    fill()
    with pytest.raises(QueueStoreFull), translated_errors():
        script(store, Given("", "redis.call('SET', KEYS[1], '1')"))(["something"])


def test_parts_with_different_constants_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.jobs.endings.journal.STREAM_BYTES", "another")
    constants = {"STREAM_BYTES": "'bytes'"}
    with pytest.raises(ValueError, match="STREAM_BYTES"):
        _collect("jobs/keep_journal", {}, constants)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.parent.name}/{path.stem}")
def test_redis_can_read_each_script(store: redis.Redis, path: Path) -> None:
    assert len(store.script_load(of(path).text)) == 40


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.parent.name}/{path.stem}")
def test_a_script_uses_each_constant_that_it_names_and_takes_nothing_from_a_room_above(path: Path) -> None:
    room = "/".join(path.parent.parent.relative_to(WORKERS).parts)
    for parts in directives(path, "parts"):
        for part in parts.split():
            assert FLOOR_OF[part.rpartition("/")[0]] >= FLOOR_OF[room], part
    body = re.sub(r"^--.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for constants in directives(path, "constants"):
        module, *names = constants.split()
        if module != "workers.keys":
            owner = "/".join(module.split(".")[1:-1])
            assert FLOOR_OF[owner] >= FLOOR_OF[room], constants
        assert [name for name in names if not re.search(rf"\b{name}(_prefix)?\b", body)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.parent.name}/{path.stem}")
def test_a_script_names_its_keys_and_arguments(path: Path) -> None:
    assert re.findall(r"(?:KEYS|ARGV)\[(?:[2-9]|\d\d)\]", path.read_text(encoding="utf-8")) == []


#: The file that defines each function of a part.
DEFINED = {
    name: path for path in FILES for name in re.findall(r"^local function (\w+)", path.read_text(), re.MULTILINE)
}


def parts_of(path: Path) -> set[Path]:
    """Return the files that a script names as its parts, and theirs."""
    named = {
        WORKERS / room / "lua" / f"{name}.lua"
        for line in directives(path, "parts")
        for room, _, name in (part.rpartition("/") for part in line.split())
    }
    return named.union(*(parts_of(each) for each in named))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.parent.name}/{path.stem}")
def test_a_script_names_the_part_of_each_function_that_it_calls(path: Path) -> None:
    body = re.sub(r"^--.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    called = {name for name in DEFINED if re.search(rf"(?<![\w.]){name}\(", body)}
    own = set(re.findall(r"function (\w+)\(", body))
    assert {name for name in called - own if DEFINED[name] not in parts_of(path)} == set()


def test_what_several_parts_need_stands_once_and_before_them() -> None:
    text = Lua("workers.jobs", "finish").text
    for function in ("record_of", "add_weight", "try_call"):
        assert text.count(f"local function {function}(") == 1
    assert text.index("function add_weight") < text.index("function unweigh") < text.index("unweigh(weights, ids)\n")
    assert f"local record_prefix = '{keys.record('')}'" in Lua("workers.webhooks", "backfill").text


@hypothesis.given(
    strategies.recursive(
        strategies.text(max_size=20) | strategies.integers(-(2**40), 2**40),
        lambda each: strategies.lists(each, max_size=4),
        max_leaves=10,
    )
)
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture], max_examples=25)
def test_values_mean_the_same_in_lua(store: redis.Redis, value: object) -> None:
    def as_bytes(each: object) -> object:
        if isinstance(each, list):
            return [as_bytes(one) for one in each]
        return each.encode() if isinstance(each, str) else each

    assert store.eval(f"return {in_lua(value)}", 0) == as_bytes(value)


def test_a_mapping_becomes_a_table_by_its_keys(store: redis.Redis) -> None:
    table = in_lua({"high": ["a", "b"], "low": [1]})
    assert store.eval(f"local t = {table} return {{t.high[2], t.low[1]}}", 0) == [b"b", 1]


def test_a_script_that_redis_has_forgotten_is_run_for_many_keys_all_the_same(store: redis.Redis) -> None:
    source = Lua("workers.platform", "read_hashes")
    for number in range(3):
        store.hset(f"queuecast:counts:{number}", "a", number)
    names = [f"queuecast:counts:{number}" for number in range(3)]
    first = run_in_parts(store, source, names)
    store.script_flush()
    assert run_in_parts(store, source, names) == first
    assert len(first) == 3
