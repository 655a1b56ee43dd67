"""The roles of API keys; imports nothing, so that the tables can use it."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """A role includes the permissions of the roles before it."""

    #: Predict, and see and cancel its own jobs, possibly at some endpoints only.
    CLIENT = "client"
    #: Deploy and undeploy, and see and manage all jobs and dead letters.
    OPERATOR = "operator"
    #: Register and delete models, which runs their code, and create and revoke keys.
    ADMIN = "admin"

    def includes(self, needed: Role) -> bool:
        """Whether this role has the permissions of `needed`."""
        return _RANKS[self] >= _RANKS[needed]


_RANKS = {role: rank for rank, role in enumerate(Role)}
