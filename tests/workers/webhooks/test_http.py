"""One webhook to real servers: request, answer, and unreachable targets."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib.metadata import version
from typing import Any

import pytest
import trustme
from standardwebhooks import Webhook

from tests.support.servers.receivers import Receiver, answering, http
from tests.support.service.ports import free_port
from tests.workers.webhooks.conftest import Names, ServerTls
from workers.errors import TargetUnreachable
from workers.webhooks.allowlist import Allowlist
from workers.webhooks.http import EXCERPT_BYTES, Answer, Network, post
from workers.webhooks.signing import new_secret, secrets_of

HOST = "hooks.example.com"
SECRET = new_secret()
TARGETS = Allowlist.read("*:* http://*:*", "127.0.0.1 ::1")
Networks = Callable[..., Network]


def sent(
    url: str, network: Network, allowlist: Allowlist = TARGETS, body: bytes = b"{}", timeout_s: float = 5
) -> Answer:
    return post(url, "msg_1", body, secrets_of(SECRET), allowlist, timeout_s, network=network)


def failure(url: str, network: Network, timeout_s: float = 5, **more: Any) -> str:
    with pytest.raises(TargetUnreachable) as caught:
        sent(url, network, timeout_s=timeout_s, **more)
    return str(caught.value)


def test_a_webhook_arrives_as_it_was_signed(network: Networks, server_tls: ServerTls) -> None:
    with Receiver(tls=server_tls()) as receiver:
        answer = sent(f"https://{HOST}:{receiver.port}/hook?a=%20b", network(), body=b'{"a": 1}')
    [request] = receiver.requests
    assert request.line == "POST /hook?a=%20b HTTP/1.1"
    assert Webhook(SECRET).verify(request.body, dict(request.headers)) == {"a": 1}
    assert request.headers["host"] == f"{HOST}:{receiver.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == f"queuecast/{version('queuecast')}"
    assert receiver.names == [HOST]
    assert (answer.status, answer.body_excerpt, answer.address) == (200, "thanks", "127.0.0.1")
    assert 0 < answer.duration_ms < 5_000


def test_each_attempt_has_its_own_time_and_the_same_id(network: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as receiver:
        for at in (1_000.9, 2_000.0):
            monkeypatch.setattr(time, "time", lambda at=at: at)
            sent(f"http://{HOST}:{receiver.port}/", network())
    assert [each.headers["webhook-timestamp"] for each in receiver.requests] == ["1000", "2000"]
    assert [each.headers["webhook-id"] for each in receiver.requests] == ["msg_1", "msg_1"]
    assert receiver.connections == 2


@pytest.mark.parametrize("status", [200, 204, 299, 302, 400, 404, 410, 429, 500, 503])
def test_any_status_is_an_answer(network: Networks, status: int) -> None:
    with Receiver(answering(http(status))) as receiver:
        assert sent(f"http://{HOST}:{receiver.port}/", network()).status == status


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("99999999999", 86_400),
        ("9" * 5_000, None),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("1.5", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 9999 07:28:00 GMT", 86_400),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
    ],
)
def test_how_long_a_target_wants_to_be_left_alone(network: Networks, value: str, seconds: int | None) -> None:
    with Receiver(answering(http(503, Retry_After=value))) as receiver:
        assert sent(f"http://{HOST}:{receiver.port}/", network()).retry_after_s == seconds


def test_a_target_may_name_the_time_from_which_on_it_takes_more(network: Networks) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    with Receiver(answering(http(429, Retry_After=at))) as receiver:
        seconds = sent(f"http://{HOST}:{receiver.port}/", network()).retry_after_s
    assert seconds is not None
    assert 30 < seconds <= 60


@pytest.mark.parametrize(
    ("body", "excerpt"),
    [
        (b"", ""),
        ("grüße".encode(), "grüße"),
        (b"a\x00b\xff", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"),
        (b"a" * EXCERPT_BYTES, "a" * EXCERPT_BYTES),
        (b"a" * 1_000_000, "a" * EXCERPT_BYTES),
    ],
    ids=["empty", "utf-8", "not text", "as long as is kept", "long"],
)
def test_the_beginning_of_the_body_is_kept_as_text(network: Networks, body: bytes, excerpt: str) -> None:
    with Receiver(answering(http(500, body))) as receiver:
        assert sent(f"http://{HOST}:{receiver.port}/", network()).body_excerpt == excerpt


def test_proxies_of_the_environment_see_nothing(network: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as receiver, Receiver() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            for variable in (name, name.lower()):
                monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        sent(f"http://{HOST}:{receiver.port}/", network())
    assert (receiver.connections, proxy.connections) == (1, 0)


def test_the_machines_own_resolver_is_used_unless_told_otherwise() -> None:
    allowlist = Allowlist.read("http://localhost:*", "127.0.0.0/8 ::1")
    with Receiver() as receiver:
        answer = post(f"http://localhost:{receiver.port}/", "msg_1", b"{}", (b"k" * 24,), allowlist, 5)
    assert (answer.status, answer.address) == (200, "127.0.0.1")


@pytest.mark.parametrize("host", ["[::1]", HOST])
def test_a_target_may_have_ipv6_alone(network: Networks, host: str) -> None:
    with Receiver(address="::1") as receiver:
        assert sent(f"http://{host}:{receiver.port}/", network(["::1"])).address == "::1"
    assert receiver.requests[0].headers["host"] == f"{host}:{receiver.port}"


def test_an_address_may_have_a_certificate(network: Networks, server_tls: ServerTls) -> None:
    with Receiver(tls=server_tls("127.0.0.1")) as receiver:
        assert sent(f"https://127.0.0.1:{receiver.port}/", network()).status == 200


def test_if_the_first_address_refuses_connections_the_next_one_is_tried(network: Networks) -> None:
    with Receiver(address="127.0.0.1") as receiver:
        answer = sent(f"http://{HOST}:{receiver.port}/", network(["::1", "127.0.0.1"]))
    assert (answer.status, answer.address) == (200, "127.0.0.1")


def test_an_address_that_never_answers_takes_only_its_share_of_the_time(network: Networks) -> None:
    with socket.create_server(("127.0.0.2", 0), backlog=0) as silent:
        port = silent.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.2", port))
        allowlist = Allowlist.read("http://*:*", "127.0.0.0/8")
        with Receiver(port=port) as receiver:
            answer = sent(f"http://{HOST}:{port}/", network(["127.0.0.2", "127.0.0.1"]), allowlist, timeout_s=0.4)
        for each in waiting:
            each.close()
    assert (answer.address, receiver.connections) == ("127.0.0.1", 1)


def test_a_name_without_an_address(network: Networks) -> None:
    answers: list[Sequence[str] | Exception] = [[], socket.gaierror(socket.EAI_NONAME, "driver's text")]
    for answer in answers:
        assert failure(f"https://{HOST}/", network(answer)) == f"{HOST} has no address."


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_AGAIN, "driver's text"), OSError("driver's text")])
def test_a_resolver_that_fails(network: Networks, error: Exception) -> None:
    assert failure(f"https://{HOST}/", network(error)) == f"{HOST} can't be resolved: DNS doesn't answer."


def test_a_mistake_in_a_resolver_is_no_answer(network: Networks) -> None:
    with pytest.raises(ZeroDivisionError):
        sent(f"https://{HOST}/", network(ZeroDivisionError()))


def test_a_port_that_nobody_listens_on(network: Networks) -> None:
    port = free_port()
    assert failure(f"http://{HOST}:{port}/", network()) == f"{HOST} refuses connections on port {port}."


def test_a_certificate_for_another_name(network: Networks, server_tls: ServerTls) -> None:
    with Receiver(tls=server_tls("other.example.com")) as receiver:
        reason = failure(f"https://{HOST}:{receiver.port}/", network())
    assert reason == f"The certificate of {HOST} is for another name."
    assert receiver.requests == []


def test_a_certificate_that_has_expired(network: Networks, server_tls: ServerTls) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    with Receiver(tls=server_tls(not_before=yesterday - timedelta(days=1), not_after=yesterday)) as receiver:
        assert failure(f"https://{HOST}:{receiver.port}/", network()) == f"The certificate of {HOST} has expired."
    assert receiver.requests == []


def test_a_certificate_of_an_authority_that_nobody_knows(server_tls: ServerTls) -> None:
    others = Network(Names(["127.0.0.1"]), lambda: _trusting(trustme.CA()))
    with Receiver(tls=server_tls()) as receiver:
        reason = failure(f"https://{HOST}:{receiver.port}/", others)
        system = failure(f"https://{HOST}:{receiver.port}/", Network(Names(["127.0.0.1"])))
    assert "an authority that this machine doesn't trust" in reason
    assert system == reason
    assert receiver.requests == []


def _trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_https_to_a_server_that_speaks_none_and_the_other_way_round(network: Networks, server_tls: ServerTls) -> None:
    with Receiver(answering(b"HTTP/1.1 400 No\r\n\r\n"), reads=False) as plain, Receiver(tls=server_tls()) as secure:
        assert "doesn't support TLS" in failure(f"https://{HOST}:{plain.port}/", network())
        failure(f"http://{HOST}:{secure.port}/", network())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed the connection before it answered"),
        (b"220 mail.example.com ESMTP\r\n", "did not answer with HTTP"),
        (b"HTTP/1.1 abc\r\n\r\n", "did not answer with HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "did not answer with HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "did not answer with HTTP"),
    ],
)
def test_a_server_that_doesnt_answer_with_http(network: Networks, answer: bytes, reason: str) -> None:
    with Receiver(answering(answer)) as receiver:
        assert failure(f"http://{HOST}:{receiver.port}/", network()) == f"{HOST} {reason}."
