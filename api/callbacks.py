"""Whether the ends of jobs may be told where a request wants them told."""

from __future__ import annotations

from api.errors import CallbackRefused, WebhooksNotSetUp
from workers import settings
from workers.errors import TargetRefused


def check(url: str | None, field: str = "callback_url") -> None:
    """Refuse a callback that nothing would be sent to, before there is a job.

    Raises:
        WebhooksNotSetUp: this service signs nothing, and so it sends nothing.
        CallbackRefused: the URL can't be used, or is not allowed; says why.
    """
    if url is None:
        return
    ours = settings.load()
    if not ours.webhook_keys:
        raise WebhooksNotSetUp(field)
    try:
        ours.webhook_targets.check_url(url)
    except TargetRefused as error:
        raise CallbackRefused(str(error), {"field": field}) from error
