"""Callers of every role."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from api.auth import guard
from api.auth.identity import Identity
from registry.roles import Role

SetRole = Callable[[Role], None]


@pytest.fixture
def role_of(monkeypatch: pytest.MonkeyPatch) -> SetRole:
    """Sets what the caller of the requests from now on may do."""

    def set_role(role: Role) -> None:
        monkeypatch.setattr(guard, "ANONYMOUS", Identity("shop", role))

    return set_role
