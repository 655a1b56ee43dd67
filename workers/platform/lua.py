"""Scripts for Redis, each in a file of its own: `<room>/lua/<name>.lua`, read at its first run.

A file begins with what it takes from elsewhere, and is joined with that once:

    --@ parts platform/even_if_full jobs/status
    --@ constants workers.keys LEASES record

Parts are other files, by room and name; they go before it, each once. Constants are those of a Python module: texts,
numbers, lists and dictionaries. A function of `workers.keys` stands for the prefix of its keys: `record` becomes
`record_prefix`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from importlib.resources import files
from typing import Any, overload

import redis
from redis.asyncio import Redis as AsyncRedis
from redis.commands.core import AsyncScript, Script

_CLONES_ROOT = "workers"
#: What it is called here: in a clone the same, installed `queuecast.workers`.
_ROOT = __name__.rpartition(".platform.")[0]
#: Some milliseconds; a multiple of how many keys a script reads of one endpoint.
_KEYS_AT_ONCE = 480
_DIRECTIVE = re.compile(r"--@ (parts|constants) (.+)\n")


@dataclass(frozen=True, slots=True)
class Lua:
    """A script, by the package of its room and its name."""

    package: str
    name: str

    @property
    def text(self) -> str:
        """The script as Redis gets it."""
        return _joined(self.package, self.name)


@cache
def digest(source: Lua) -> str:
    """Return Redis's name for a script."""
    return hashlib.sha1(source.text.encode()).hexdigest()  # noqa: S324 - Redis's choice


@overload
def script(client: redis.Redis, source: Lua) -> Script: ...
@overload
def script(client: AsyncRedis, source: Lua) -> AsyncScript: ...
def script(client: redis.Redis | AsyncRedis, source: Lua) -> Script | AsyncScript:
    """Return a script bound to a client; its digest is computed once."""
    return _bound(client, source)


@lru_cache(maxsize=256)
def _bound(client: redis.Redis | AsyncRedis, source: Lua) -> Script | AsyncScript:
    return client.register_script(source.text)


def run_in_parts(
    client: redis.Redis, source: Lua, keys: Sequence[str], arguments: Sequence[str | int | float] = ()
) -> list[Any]:
    """Run a script for many keys, with some of them after the others, in one round trip; return its answers in a row.

    Redis does nothing else while a script runs.

    Raises:
        redis.RedisError: Redis can't be reached, or a run fails.
    """
    try:
        return _run_in_parts(client, source, keys, arguments)
    except redis.exceptions.NoScriptError:
        client.script_load(source.text)
        return _run_in_parts(client, source, keys, arguments)


def _run_in_parts(
    client: redis.Redis, source: Lua, keys: Sequence[str], arguments: Sequence[str | int | float]
) -> list[Any]:
    # A script that is called on a pipeline would be looked for first: a round trip, and a right that the API lacks.
    with client.pipeline(transaction=False) as pipeline:
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            some = keys[start : start + _KEYS_AT_ONCE]
            pipeline.evalsha(digest(source), len(some), *some, *arguments)
        return [answer for answers in pipeline.execute() for answer in answers]


@cache
def _joined(package: str, name: str) -> str:
    parts, constants = dict[str, str](), dict[str, str]()
    _collect(f"{package.removeprefix(_ROOT + '.').replace('.', '/')}/{name}", parts, constants)
    named = "".join(f"local {each} = {value}\n" for each, value in constants.items())
    return named + "\n".join(parts.values())


def _collect(part: str, parts: dict[str, str], constants: dict[str, str]) -> None:
    """Add a file to `parts`, after those that it needs, and its constants to `constants`."""
    if part in parts:
        return
    room, _, name = part.rpartition("/")
    package = f"{_ROOT}.{room.replace('/', '.')}"
    text = files(package).joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
    for what, values in _DIRECTIVE.findall(text):
        if what == "parts":
            for each in values.split():
                _collect(each, parts, constants)
        else:
            module_name, *names = values.split()
            for name, value in _constants(module_name, names):
                if constants.setdefault(name, value) != value:
                    raise ValueError(f"{part}: another part of the script has a constant {name} of another value")
    parts[part] = _DIRECTIVE.sub("", text)


def _constants(module_name: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    module = import_module(_ROOT + module_name.removeprefix(_CLONES_ROOT))
    for name in names:
        value = getattr(module, name)
        yield (f"{name}_prefix", in_lua(value(""))) if callable(value) else (name, in_lua(value))


def in_lua(value: Any) -> str:
    """Return a text, number, sequence or mapping as Lua writes it."""
    if isinstance(value, str):
        return "'" + "".join(map(_in_quotes, value.encode())) + "'"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"[{in_lua(key)}] = {in_lua(each)}" for key, each in value.items()) + "}"
    if isinstance(value, Sequence):
        return "{" + ", ".join(map(in_lua, value)) + "}"
    return repr(value)


def _in_quotes(byte: int) -> str:
    is_plain = chr(byte).isascii() and chr(byte).isprintable() and chr(byte) not in "'\\"
    return chr(byte) if is_plain else f"\\{byte:03d}"
