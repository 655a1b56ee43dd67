"""What the holder of an API key may do; stands alone, for the tables and for what they mean."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """Each may do what those before it may."""

    #: Predict, and see and cancel its own jobs; perhaps at some endpoints only.
    CLIENT = "client"
    #: Deploy and undeploy, and see and steer all jobs and dead letters.
    OPERATOR = "operator"
    #: Register and delete models, which runs their code, and make and revoke keys.
    ADMIN = "admin"

    def includes(self, needed: Role) -> bool:
        """Tell whether this role may do what `needed` may."""
        return _RANKS[self] >= _RANKS[needed]


_RANKS = {role: rank for rank, role in enumerate(Role)}
