"""Webhooks of ended jobs: the script that writes a terminal record stores its webhook (`lua/notify.lua`)."""

from __future__ import annotations

from workers.platform.http_url import read_url
from workers.settings import DAY_S

#: Most deliveries in a client's list.
LISTED_OF_OWNER = 10_000
#: All deliveries in the list are gone by then: none is retried or kept for so long.
LIST_TTL_S = 30 * DAY_S


def callback(url: str) -> str:
    """Return what the scripts need to know of a callback: the receiver that shares its fate with others, and the URL.

    Whether something may be sent there is not looked at.

    Raises:
        TargetRefused: it is no URL that anything could be sent to.
    """
    target = read_url(url)
    return f"{target.authority} {url}"


def without_secrets(url: str) -> str:
    """Return a callback's URL as it may be shown: without its query, in which tokens are."""
    before, mark, _query = url.partition("?")
    return before + ("?…" if mark else "")
