"""Options of runtimes: plain values, checked when a version is registered and when it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from registry.errors import RuntimeOptionsInvalid


class Options(BaseModel):
    """Base of runtime options; unknown options are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return checked options.

        Raises:
            RuntimeOptionsInvalid: an option is unknown or has an invalid value; the message names it.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(["runtime_options", *map(str, first["loc"])])
            raise RuntimeOptionsInvalid(f"{place}: {first['msg']}.") from error

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the given options as plain JSON values. Raises RuntimeOptionsInvalid."""
        return cls.parse(values).model_dump(mode="json", exclude_unset=True)
