"""Documents that are stored with a row: JSON objects that every database and every client can hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from registry.errors import MetadataInvalid

_MAX_LENGTH = 1_000_000


def checked_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a plain copy of a version's metadata.

    Raises:
        MetadataInvalid: it is no JSON object, holds NaN or infinity, or is longer than a million characters.
    """
    if not isinstance(metadata, Mapping | None):
        raise MetadataInvalid("The metadata must be a JSON object.")
    try:
        text = json.dumps(dict(metadata or {}), allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise MetadataInvalid("The metadata must be a JSON object: text, finite numbers, lists, objects.") from error
    if len(text) > _MAX_LENGTH:
        raise MetadataInvalid(f"The metadata is longer than {_MAX_LENGTH} characters of JSON.")
    plain: dict[str, Any] = json.loads(text)
    return plain
