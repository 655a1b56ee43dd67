"""Locked environments in the registry: immutable, and named by the digest of what they contain."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from registry.database import artifact_lock
from registry.database.inserting import insert_if_absent
from registry.database.tables import EnvironmentRow
from registry.errors import EnvironmentNotFound


@dataclass(frozen=True)
class Environment:
    """A locked environment."""

    #: The digest of Python and lock: equal ones are one environment.
    sha256: str
    #: The Python, e.g. `3.12` or `pypy3.9`.
    python: str
    #: One line for each package, with its version and the hashes of its files.
    lock: str

    @classmethod
    def of(cls, python: str, lock: str) -> Environment:
        """Return the environment of a Python and a lock in canonical form."""
        content = json.dumps([python, lock]).encode()
        return cls(hashlib.sha256(content).hexdigest(), python, lock)

    @property
    def packages(self) -> list[str]:
        """The packages with their versions, e.g. `scikit-learn==1.5.2`."""
        return [line.split()[0] for line in self.lock.splitlines()]

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {"sha256": self.sha256, "python": self.python, "packages": self.packages, "lock": self.lock}


def add(session: Session, environment: Environment) -> None:
    """Store an environment, unless it is stored; the caller commits, with a version that has it."""
    artifact_lock.let_none_be_deleted(session)
    insert_if_absent(session, EnvironmentRow, **vars(environment), created_at=datetime.now(UTC))


def get(session: Session, sha256: str) -> Environment:
    """Return a stored environment. Raises EnvironmentNotFound."""
    row = session.get(EnvironmentRow, sha256)
    if row is None:
        raise EnvironmentNotFound(sha256)
    return Environment(row.sha256, row.python, row.lock)
