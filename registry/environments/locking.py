"""Locks environments: resolves requirements to exact versions with the hashes of their files."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from registry.environments.environment import Environment
from registry.environments.uv import Uv, UvFailed
from registry.environments.wanted import WantedEnvironment
from registry.errors import EnvironmentUnresolvable
from registry.settings import RegistrySettings

#: A caller of the API waits, and holds a thread of it.
_TIMEOUT_S = 120.0


def locked(document: Mapping[str, Any], settings: RegistrySettings) -> Environment:
    """Return the locked environment of what a registration asks for. Resolving may download metadata of packages.

    Raises:
        EnvironmentsOff: the settings don't allow environments.
        EnvironmentInvalid: a field is wrong.
        EnvironmentUnresolvable: no versions satisfy the requirements; the message has the resolver's last lines.
    """
    uv = Uv(settings, timeout_s=_TIMEOUT_S)
    wanted = WantedEnvironment.parse(document)
    if wanted.lock is not None:
        return Environment.of(wanted.python, wanted.lock)
    command = [
        "pip", "compile", "-", "--quiet", "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url",
        "--only-binary", ":all:", "--python", sys.executable, "--no-python-downloads",
        "--python-version", re.sub("^pypy", "", wanted.python), *uv.index,
    ]  # fmt: skip
    try:
        compiled = uv.run(command, "\n".join(wanted.requirements))
    except UvFailed as error:
        raise EnvironmentUnresolvable(wanted.python, str(error)) from error
    lines = [each for each in compiled.splitlines() if not each.startswith("-")]
    parsed = WantedEnvironment.parse({"python": wanted.python, "lock": "\n".join(lines)})
    assert parsed.lock is not None  # noqa: S101 - it was given
    return Environment.of(parsed.python, parsed.lock)
