"""Posts one webhook, signed, to a target that is allowed. Knows nothing of jobs, retries or logs."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpcore

from workers.errors import TargetUnreachable
from workers.release import release
from workers.webhooks.connections import AnswerTooLong, Deadline, Network, Stream, connect
from workers.webhooks.signing import signature
from workers.webhooks.targets import Target, Targets

KEPT_BYTES = 4_096
#: Of one answer, with its headers; less than h11 takes of headers alone (100 KiB), so that one place decides.
_READ_BYTES = 65_536
_LONGEST_RETRY_AFTER_S = 86_400
_NETWORK = Network()
_Headers = dict[str | bytes, str | bytes]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a target answered.

    Attributes:
        status: of HTTP. 2xx is a success, anything else is not; also 3xx, since redirects are not followed.
        body_excerpt: the beginning of the body, as text.
        duration_ms: how long the whole call took.
        address: where the connection led to.
        retry_after_s: how long the target wants to be left alone, at most a day; None if it doesn't say.
    """

    status: int
    body_excerpt: str
    duration_ms: float
    address: str
    retry_after_s: int | None


def post(  # noqa: PLR0913, PLR0917 - all of it differs from call to call, or from service to service
    url: str,
    message_id: str,
    body: bytes,
    secrets: tuple[bytes, ...],
    targets: Targets,
    timeout_s: float,
    *,
    network: Network = _NETWORK,
) -> Answer:
    """Sign a JSON document, post it, and return the answer, whatever its status; over in `timeout_s`.

    The status decides: what is wrong with the body of an answer (too long, too slow, cut off) shortens the excerpt.

    Raises:
        TargetRefused: it may not go to this URL, or to an address of its host; nothing was sent.
        TargetUnreachable: there was no answer; the message says why.
    """
    deadline = Deadline(timeout_s)
    target = targets.check_url(url)
    headers = _headers(target, message_id, body, secrets)
    connection, address = connect(target, targets, network, deadline)
    stream = Stream(connection, deadline, _READ_BYTES)
    try:
        response = _answer(target, headers, body, stream, deadline)
        excerpt = _excerpt(response.iter_stream())
    finally:
        stream.close()
    duration_ms = round(deadline.elapsed_s() * 1_000, 3)
    return Answer(response.status, excerpt, duration_ms, address, _retry_after_s(response.headers))


def _headers(target: Target, message_id: str, body: bytes, secrets: tuple[bytes, ...]) -> _Headers:
    timestamp_s = int(time.time())
    return {
        "Host": target.authority,
        "User-Agent": f"queuecast/{release()}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": signature(secrets, message_id, timestamp_s, body),
    }


def _answer(target: Target, headers: _Headers, body: bytes, stream: Stream, deadline: Deadline) -> httpcore.Response:
    url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
    request = httpcore.Request("POST", url, headers=headers, content=body)
    try:
        return httpcore.HTTP11Connection(url.origin, stream).handle_request(request)
    except TimeoutError as error:
        raise TargetUnreachable(f"{target.host} did not answer within {deadline.timeout_s:g} s.") from error
    except AnswerTooLong as error:
        raise TargetUnreachable(f"The headers of {target.host}'s answer are too long.") from error
    except (httpcore.RemoteProtocolError, OSError) as error:
        if isinstance(error, OSError) or not stream.received_bytes:
            raise TargetUnreachable(f"{target.host} closed the connection before it answered.") from error
        raise TargetUnreachable(f"{target.host} did not answer with HTTP.") from error


def _excerpt(pieces: Iterator[bytes]) -> str:
    """Return how a body begins; what was answered stands, also if the rest is too long, too late or broken."""
    kept = b""
    with suppress(OSError, AnswerTooLong, httpcore.RemoteProtocolError):
        for piece in pieces:
            kept += piece[: KEPT_BYTES - len(kept)]
    return kept.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL's text knows no NUL


def _retry_after_s(headers: list[tuple[bytes, bytes]]) -> int | None:
    value = next((value for name, value in headers if name.lower() == b"retry-after"), b"").decode("latin-1").strip()
    if re.fullmatch("[0-9]{1,20}", value):
        return min(int(value), _LONGEST_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    wait_s = at.replace(tzinfo=at.tzinfo or UTC).timestamp() - time.time()
    return min(max(math.ceil(wait_s), 0), _LONGEST_RETRY_AFTER_S)
