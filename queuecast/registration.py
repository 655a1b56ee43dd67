"""`register` as programs call it that fit models beside the registry's database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from registry import registration
from registry.database import default_database
from registry.signatures.signature import Signature
from registry.versions import ModelVersion


def register(  # noqa: PLR0913 - the fields of a version, by name
    name: str,
    model: Any,
    *,
    input_example: Any = None,
    signature: Signature | Mapping[str, Any] | None = None,
    runtime: str | None = None,
    runtime_options: Mapping[str, Any] | None = None,
    version: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
    session: Session | None = None,
) -> ModelVersion:
    """Register a model as a new version in the registry of DATABASE_URL (or QUEUECAST_DATA_DIR), and return it.

        from queuecast import register

        register("houses", fitted, input_example=houses)

    The model is serialized, and tried on its example in a fresh process. Without a `runtime`, it is detected. Without a
    `signature`, it is derived from the example; a pandas data frame gives the most detail. Without a `version`, it is
    the next number. `environment` is what the version runs in: `{"python": "3.12", "requirements": ["pandas==3.1"]}`.
    Of a `session` it is a part, which the caller commits; without one it is committed at once.

    Raises:
        RegistryError: it was refused; the class says why, see `registry.registration.register`.
    """

    def add(to: Session) -> ModelVersion:
        return registration.register(
            to,
            name,
            model,
            input_example=input_example,
            signature=signature,
            runtime=runtime,
            runtime_options=runtime_options,
            version=version,
            metadata=metadata,
            environment=environment,
        )

    if session is not None:
        return add(session)
    with default_database().session() as own:
        added = add(own)
        own.commit()
    return added
