"""Checks callback URLs: whether webhooks may be sent to them."""

from __future__ import annotations

from api.errors import CallbackRefused, WebhooksNotSetUp
from workers.errors import TargetRefused
from workers.webhooks import settings


def check(url: str | None, field: str = "callback_url") -> None:
    """Refuse a callback URL that gets no webhooks, before there is a job.

    Raises:
        WebhooksNotSetUp: this service has no secret to sign webhooks with.
        CallbackRefused: the URL is wrong or not allowed; says why.
    """
    if url is None:
        return
    ours = settings.load()
    if not ours.keys:
        raise WebhooksNotSetUp(field)
    try:
        ours.allowlist.check_url(url)
    except TargetRefused as error:
        raise CallbackRefused(str(error), {"field": field}) from error
