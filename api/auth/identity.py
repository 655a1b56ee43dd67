"""The caller of the current request, and what the caller may see and use."""

from __future__ import annotations

from dataclasses import dataclass

from flask import g

from api.errors import EndpointForbidden
from api.http import reading
from api.http.exchange import Request
from registry.roles import Role


@dataclass(frozen=True, slots=True)
class Identity:
    """The holder of an API key, or any caller where no keys are needed."""

    #: The owner of the holder's jobs; None for jobs without an owner.
    name: str | None
    role: Role
    #: The only endpoints that may be used; None is all.
    endpoint_names: frozenset[str] | None = None

    @property
    def sees_jobs_of(self) -> str | None:
        """The only owner whose jobs may be seen and cancelled; None is all."""
        return self.name if self.role is Role.CLIENT else None

    @property
    def sees_answers(self) -> bool:
        """Whether the responses of webhook receivers may be read, which may be anything that the network has."""
        return self.role.includes(Role.OPERATOR)

    def may_use(self, endpoint_name: str) -> bool:
        """Tell whether jobs may be submitted to an endpoint."""
        return self.endpoint_names is None or endpoint_name in self.endpoint_names

    def check_endpoint(self, endpoint_name: str) -> None:
        """Raise EndpointForbidden unless jobs may be submitted to this endpoint, whether or not it exists."""
        if not self.may_use(endpoint_name):
            allowed = sorted(self.endpoint_names or ())
            raise EndpointForbidden(
                f"This API key may not use endpoint {endpoint_name!r}; it is for {', '.join(allowed)}.",
                {"endpoint_name": endpoint_name, "endpoint_names": allowed},
            )

    def check_model(self, model_name: str) -> None:
        """Raise EndpointForbidden for a model that none of the caller's endpoints serves, whether or not it exists.

        Raises nothing for a caller who may use all endpoints.
        """
        if self.endpoint_names is not None:
            allowed = sorted(self.endpoint_names)
            raise EndpointForbidden(
                f"No endpoint that this API key may use serves {model_name!r}; it is for {', '.join(allowed)}.",
                {"model_name": model_name, "endpoint_names": allowed},
            )


#: Every caller of an API that needs no keys.
ANONYMOUS = Identity(None, Role.ADMIN)


def current() -> Identity:
    """Return the caller of the current request; the guard has set it."""
    found = g.identity
    assert isinstance(found, Identity)  # noqa: S101 - narrows the type
    return found


def idempotency_key(request: Request, caller: Identity) -> str | None:
    """Return the `Idempotency-Key` header scoped to its client, so that no other client can use it; None without one.

    Raises:
        IdempotencyKeyInvalid: it is empty or too long.
    """
    key, name = reading.idempotency_key(request), caller.name
    # No caller's own key has a line break.
    return key if key is None or name is None else f"owner\n{name}\n{key}"
