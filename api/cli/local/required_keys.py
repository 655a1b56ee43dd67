"""Whether the API asks for keys: what it answers if it runs, and what the settings say otherwise."""

from __future__ import annotations

from http import HTTPStatus

import httpx

from api.cli.settings import CliSettings

_LIMIT_S = 2.0
#: For every role, and it reads nothing.
_PATH = "/v2"
_HOW = "To have it ask for keys, set QUEUECAST_AUTH=on and start the API again; workers go on meanwhile."


def keys_required(settings: CliSettings) -> tuple[bool, str]:
    """Return whether keys are asked for, and a sentence that says so and what to do."""
    asks = _running_service_asks(settings.service_url)
    if asks is None:
        asks, api = settings.asks_for_keys, "With these settings the API"
        variables = f" (QUEUECAST_HOST={settings.host}, QUEUECAST_AUTH={settings.auth}; nothing answers now)"
    else:
        api, variables = f"The API at {settings.service_url}", ""
    if asks:
        return True, f"{api} asks for keys{variables}: requests without one are refused."
    return False, f"{api} asks for no keys{variables}: requests without one may do everything. {_HOW}"


def _running_service_asks(url: str) -> bool | None:
    """Ask without a key; None if nothing of ours answers."""
    try:
        status = httpx.get(f"{url.rstrip('/')}{_PATH}", timeout=_LIMIT_S).status_code
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    return {int(HTTPStatus.UNAUTHORIZED): True, int(HTTPStatus.OK): False}.get(status)
