"""The trace that a request belongs to, in a program that traces itself with OpenTelemetry."""

from __future__ import annotations

import sys


def headers() -> dict[str, str]:
    """Return what leads to the caller's span, as the program passes it on elsewhere; nothing if there is no span.

    Only a program that has imported OpenTelemetry can have one, so it is loaded nowhere else.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or not trace.get_current_span().get_span_context().is_valid:
        return {}
    from opentelemetry.propagate import inject

    found: dict[str, str] = {}
    inject(found)
    return found
