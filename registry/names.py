"""The rules for names, which are used in URLs, queue names and tables."""

from __future__ import annotations

import re
from collections.abc import Sequence

from registry.errors import NameInvalid

MAX_MODEL_NAME_LENGTH = 100
MAX_VERSION_NAME_LENGTH = 64
MAX_ENDPOINT_NAME_LENGTH = 128
MAX_GROUP_NAME_LENGTH = 100
MAX_KEY_NAME_LENGTH = 100
MAX_ALIAS_NAME_LENGTH = 64
MAX_TAG_NAME_LENGTH = 100
#: The group of workers and deployments without a group.
DEFAULT_WORKER_GROUP = "default"

#: Regular expression that every name matches as a whole.
PATTERN = "[A-Za-z0-9][A-Za-z0-9._-]*"
_ALLOWED = re.compile(PATTERN)
#: The endpoints of evaluations; `@` is in no name that a user can give.
_REPLAY = re.compile(r"replay@[0-9a-f]{1,32}@(candidate|stable)")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
#: Other routes: `/models/stats`, `/v2/models/stats` and `/deployments/deploy`.
_RESERVED_MODEL_NAMES = frozenset({"stats"})
#: Prefix of the text and the id of API keys; names of keys must not begin with it.
KEY_PREFIX = "qc_"
_RESERVED_ENDPOINT_NAMES = frozenset({"deploy", "undeploy", "stats"})
#: What could be taken for the latest version, or for a version by its number.
_RESERVED_ALIAS = re.compile(r"latest|v?[0-9]+", re.IGNORECASE)
_SHOWN_LENGTH = 60


def check_model_name(name: str) -> str:
    """Return the name. Raises NameInvalid if a model can't have it."""
    return _checked("a model", name, MAX_MODEL_NAME_LENGTH, _RESERVED_MODEL_NAMES)


def check_version_name(name: str) -> str:
    """Return the name. Raises NameInvalid if a version can't have it."""
    return _checked("a version", name, MAX_VERSION_NAME_LENGTH)


def check_endpoint_name(name: str) -> str:
    """Return the name. Raises NameInvalid if an endpoint can't have it."""
    return _checked("an endpoint", name, MAX_ENDPOINT_NAME_LENGTH, _RESERVED_ENDPOINT_NAMES)


def check_group_name(name: str) -> str:
    """Return the name. Raises NameInvalid if a worker group can't have it."""
    return _checked("a worker group", name, MAX_GROUP_NAME_LENGTH)


def check_key_name(name: str) -> str:
    """Return the name. Raises NameInvalid if an API key can't have it."""
    if name.startswith(KEY_PREFIX):
        raise NameInvalid("an API key", name[: len(KEY_PREFIX)] + "…", f"{KEY_PREFIX} is the prefix of keys themselves")
    return _checked("an API key", name, MAX_KEY_NAME_LENGTH)


def check_alias_name(name: str) -> str:
    """Return the name. Raises NameInvalid if an alias can't have it."""
    if _RESERVED_ALIAS.fullmatch(name):
        raise NameInvalid("an alias", name[:_SHOWN_LENGTH], "`latest` and numbers are reserved")
    return _checked("an alias", name, MAX_ALIAS_NAME_LENGTH)


def check_tag_name(name: str) -> str:
    """Return the name. Raises NameInvalid if a tag can't have it."""
    return _checked("a tag", name, MAX_TAG_NAME_LENGTH)


def default_endpoint_name(model_name: str, version: str) -> str:
    """Return the default name of an endpoint: `<model>-v<version>`.

    Raises:
        NameInvalid: the name would be too long, so the endpoint requires a name.
    """
    return check_endpoint_name(f"{model_name}-v{version}")


def could_exist(name: object) -> bool:
    """Whether the name is valid; an invalid name needs no database query."""
    return isinstance(name, str) and len(name) <= MAX_ENDPOINT_NAME_LENGTH and bool(_ALLOWED.fullmatch(name))


def replay_endpoint_name(evaluation_id: str, arm: str) -> str:
    """Return the name of the endpoint of an evaluation's replays on the `candidate` or the `stable` version."""
    return f"replay@{evaluation_id}@{arm}"


def is_replay(name: object) -> bool:
    """Whether a name is that of an endpoint of an evaluation, which is shown nowhere as a deployment."""
    return isinstance(name, str) and bool(_REPLAY.fullmatch(name))


def number_of(version: str) -> int | None:
    """Return a version name as a number, or None if it is not a plain number."""
    return int(version) if _NUMBER.fullmatch(version) else None


def newest(versions: Sequence[str]) -> str:
    """Return the highest of version names that are all numbers, otherwise the last one."""
    numbers = [number_of(version) for version in versions]
    known = [number for number in numbers if number is not None]
    return str(max(known)) if len(known) == len(versions) else versions[-1]


def _checked(kind: str, name: str, max_length: int, reserved: frozenset[str] = frozenset()) -> str:
    if not isinstance(name, str):
        raise NameInvalid(kind, str(name)[:_SHOWN_LENGTH], "a name must be text")
    rule = None
    if len(name) > max_length:
        rule = f"it is longer than {max_length} characters"
    elif not _ALLOWED.fullmatch(name):
        rule = "only letters, digits, '.', '_' and '-' are allowed, and it must begin with a letter or a digit"
    elif name in reserved:
        rule = "it is reserved"
    if rule:
        raise NameInvalid(kind, name[:_SHOWN_LENGTH], rule)
    return name
