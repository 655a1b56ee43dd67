"""The environment that a registration asks for: a Python, and requirements or a lock; checked, and not yet resolved."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry.errors import EnvironmentInvalid

#: The earliest Python that a model host runs on.
_EARLIEST_MINOR = 9
_PYTHON = re.compile(r"(pypy)?3\.(\d{1,2})(\.\d{1,3})?")
#: A name with extras, versions and a marker. No option, no path and no address, which may lead anywhere.
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[A-Za-z0-9,._ -]*\])?[^@/\\]*")
_LOCKED = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._-]*\])?==[^\s;@/]+(\s*;[^@/]*?)?(\s+--hash=sha256:[0-9a-f]{64})+"
)
_MOST_REQUIREMENTS = 500
_LONGEST_REQUIREMENT = 500
_LONGEST_LOCK = 1_000_000
_FIELDS = ("python", "requirements", "lock")


@dataclass(frozen=True)
class WantedEnvironment:
    """A Python (e.g. `3.12`, `pypy3.9`), and either requirements to resolve, or a lock with hashes."""

    python: str
    requirements: tuple[str, ...] = ()
    lock: str | None = None

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> WantedEnvironment:
        """Return the environment of a document; by default, the Python of this process.

        Raises:
            EnvironmentInvalid: a field is unknown or wrong, or not exactly one of `requirements` and `lock` is given.
        """
        if unknown := sorted(set(document) - set(_FIELDS)):
            raise EnvironmentInvalid(f"has no field {unknown[0]!r}; it has {', '.join(_FIELDS)}")
        given = {name: document[name] for name in _FIELDS if document.get(name) is not None}
        if ("requirements" in given) == ("lock" in given):
            raise EnvironmentInvalid("must have either requirements or a lock")
        python = _python(given.get("python", f"3.{sys.version_info.minor}"))
        if "lock" in given:
            return cls(python, lock=_lock(given["lock"]))
        return cls(python, requirements=_requirements(given["requirements"]))


def _python(value: object) -> str:
    found = _PYTHON.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found[2]) < _EARLIEST_MINOR:
        raise EnvironmentInvalid(f'has the python {value!r}; it must be like "3.12", from "3.{_EARLIEST_MINOR}" on')
    return found[0]


def _requirements(value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
        raise EnvironmentInvalid("must have a list of texts as requirements")
    lines = [each.partition(" #")[0].strip() for each in value]
    lines = [each for each in lines if each and not each.startswith("#")]
    if not lines or len(lines) > _MOST_REQUIREMENTS:
        raise EnvironmentInvalid(f"must have 1 to {_MOST_REQUIREMENTS} requirements")
    for each in lines:
        if len(each) > _LONGEST_REQUIREMENT or not each.isprintable() or not _REQUIREMENT.fullmatch(each):
            raise EnvironmentInvalid(
                f"has the requirement {each[:100]!r}; it must be the name of a package with versions, such as "
                '"scikit-learn==1.5.2": no option, file or address'
            )
    return tuple(sorted(dict.fromkeys(lines)))


def _lock(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_LOCK:
        raise EnvironmentInvalid(f"must have a text of at most {_LONGEST_LOCK} characters as its lock")
    joined = re.sub(r"\\\r?\n", " ", value)
    lines = [each.partition(" #")[0].strip() for each in joined.splitlines()]
    lines = [" ".join(each.split()) for each in lines if each and not each.startswith("#")]
    for each in lines:
        if not _LOCKED.fullmatch(each):
            raise EnvironmentInvalid(
                f'has a lock with the line {each[:100]!r}; each must be like "name==1.2 --hash=sha256:…", as '
                "`uv pip compile --generate-hashes` and `pip-compile --generate-hashes` write it"
            )
    return "\n".join(sorted(lines)) + "\n"
