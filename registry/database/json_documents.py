"""JSON documents that are stored with a row, and that every database and client can handle."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from registry.errors import MetadataInvalid
from registry.signatures.descriptions import shortened

_MAX_LENGTH = 1_000_000


def checked_metadata(metadata: Mapping[str, Any] | None, default: Callable[[Any], Any] | None = None) -> dict[str, Any]:
    """Return a plain copy of a version's metadata; `default` converts values of other types, as in `json.dumps`.

    Raises:
        MetadataInvalid: it is not a JSON object, contains NaN, infinity or two names with the same text, or is longer
            than a million characters.
    """
    if not isinstance(metadata, Mapping | None):
        raise MetadataInvalid("The metadata must be a JSON object.")
    try:
        text = json.dumps(dict(metadata or {}), allow_nan=False, ensure_ascii=False, default=default)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise MetadataInvalid("The metadata must be a JSON object: text, finite numbers, lists, objects.") from error
    if len(text) > _MAX_LENGTH:
        raise MetadataInvalid(f"The metadata is longer than {_MAX_LENGTH} characters of JSON.")
    plain: dict[str, Any] = json.loads(text, object_pairs_hook=_without_loss)
    return plain


def _without_loss(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        twice = next(name for name, count in Counter(name for name, _ in members).items() if count > 1)
        raise MetadataInvalid(f"The metadata has two names that become the same text, {shortened(twice)!r}.")
    return found
