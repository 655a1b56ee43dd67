"""Who makes the request that is being answered, and what that one may see and use."""

from __future__ import annotations

from dataclasses import dataclass

from flask import g

from api.errors import EndpointForbidden
from registry.roles import Role


@dataclass(frozen=True, slots=True)
class Identity:
    """The holder of an API key, or anybody where none is asked for."""

    #: What the holder's jobs belong to; None is nobody in particular.
    name: str | None
    role: Role
    #: The only endpoints that may be used; None is all.
    endpoint_names: frozenset[str] | None = None

    @property
    def sees_jobs_of(self) -> str | None:
        """The only one whose jobs may be seen and cancelled; None is everybody's."""
        return self.name if self.role is Role.CLIENT else None

    def may_use(self, endpoint_name: str) -> bool:
        """Tell whether jobs may be submitted to an endpoint."""
        return self.endpoint_names is None or endpoint_name in self.endpoint_names

    def check_endpoint(self, endpoint_name: str) -> None:
        """Raise EndpointForbidden unless jobs may be submitted to this endpoint."""
        if not self.may_use(endpoint_name):
            allowed = sorted(self.endpoint_names or ())
            raise EndpointForbidden(
                f"This API key may not use endpoint {endpoint_name!r}; it is for {', '.join(allowed)}.",
                {"endpoint_name": endpoint_name, "endpoint_names": allowed},
            )


#: Whoever can reach the API where it asks for no keys.
ANYBODY = Identity(None, Role.ADMIN)


def current() -> Identity:
    """Return who makes the request that is being answered; the guard has found out."""
    found = g.identity
    assert isinstance(found, Identity)  # noqa: S101 - narrows the type
    return found


def scoped(idempotency_key: str) -> str:
    """Return an idempotency key as nobody else can use it: that of another client is another one."""
    name = current().name
    # No caller's own key has a line break.
    return idempotency_key if name is None else f"owner\n{name}\n{idempotency_key}"
