"""Moments in requests: a time ago, or a time in ISO 8601."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, Field

_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def seconds(text: str) -> float:
    """Return a moment in seconds since the epoch: a time ago, or a time in ISO 8601. Raises ValueError."""
    if ago := _AGO.fullmatch(text):
        return max(0.0, time.time() - int(ago[1]) * _SECONDS[ago[2]])
    try:
        at = datetime.fromisoformat(text)
        return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise ValueError("should be a time ago, such as 24h or 30d, or a time such as 2026-11-30T08:00:00Z") from None


def _checked(text: str) -> str:
    seconds(text)
    return text


#: Times in ISO 8601 have more forms than this, which all are taken.
_TIME = r"20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z"
Moment = Annotated[str, AfterValidator(_checked), Field(json_schema_extra={"pattern": f"^({_AGO.pattern}|{_TIME})$"})]
