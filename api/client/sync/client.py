"""The client for programs that wait: `with Client() as client: client.predict("iris", [5.1, 3.5, 1.4, 0.2])`."""

from __future__ import annotations

from api.client.sync.deployments import DeploymentCalls
from api.client.sync.journal import JournalCalls
from api.client.sync.models import ModelCalls
from api.client.sync.predictions import PredictionCalls
from api.client.sync.trials import TrialCalls
from api.client.sync.webhooks import WebhookCalls
from api.client.typing import Self


class Client(PredictionCalls, DeploymentCalls, ModelCalls, JournalCalls, TrialCalls, WebhookCalls):
    """The service at `url`; safe to use from many threads. A context manager that closes its connections.

    A call is tried again while the service can't be reached or is too busy, after the time that it asks for, until
    `timeout_s` is over. Submits carry an idempotency key, so that a repeated one is the same job.

    Args:
        url: where the service answers; default: QUEUECAST_URL, or http://127.0.0.1:8000.
        api_key: what is shown to a service that asks for a key; default: QUEUECAST_API_KEY.
        timeout_s: how long a call may take with all that is tried again, unless it says otherwise.

    Every method raises:
        RequestRefused: the service has answered with an error; its subclasses say which.
        ServiceUnreachable: it has not answered.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._driver.close()
