"""Hostile targets that redirect, hang or send endless data: limits on time and bytes hold."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import count

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.servers.receivers import Behaviour, Receiver, answering, http
from tests.workers.webhooks.conftest import Names, ServerTls
from tests.workers.webhooks.test_http import HOST, Networks, failure, sent
from workers.errors import TargetRefused
from workers.webhooks import http as webhook_http
from workers.webhooks.allowlist import Allowlist
from workers.webhooks.http import EXCERPT_BYTES, Network

#: A second would be the shortest that people set; tests have less time.
SHORT_S = 0.2
#: After which a test says that a call was not over in its time; a busy machine may need most of it.
LATE_S = 4


@pytest.fixture
def on_time() -> Iterator[None]:
    started_at = time.monotonic()
    yield
    assert time.monotonic() - started_at < LATE_S


def endless(beginning: bytes, piece: bytes, pause_s: float = 0) -> Behaviour:
    """Send a piece again and again, until the other side has closed."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(beginning)
        for _ in count():
            connection.sendall(piece)
            if pause_s:
                threading.Event().wait(pause_s)

    return behave


def silent(connection: socket.socket) -> None:
    """Send nothing until the other side closes."""
    connection.recv(1)


def greeted_in_vain(connection: socket.socket) -> None:
    """Send nothing, not even a TLS handshake."""
    connection.recv(65_536)
    silent(connection)


@pytest.mark.parametrize(
    "addresses",
    [["10.0.0.1"], ["169.254.169.254"], ["127.0.0.2"], ["::ffff:127.0.0.2"], ["fe80::1%lo"], ["127.0.0.1", "10.0.0.1"]],
)
def test_if_one_of_its_addresses_is_not_public_nothing_is_sent(network: Networks, addresses: Sequence[str]) -> None:
    with Receiver() as receiver, pytest.raises(TargetRefused):
        sent(f"http://{HOST}:{receiver.port}/", network(addresses))
    assert receiver.connections == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_whose_address_changes_after_the_check_leads_nowhere_else(
    network: Networks, server_tls: ServerTls, scheme: str
) -> None:
    tls = server_tls() if scheme == "https" else None
    changing = network(["127.0.0.1"], ["127.0.0.2"])
    with Receiver(tls=tls) as public, Receiver(address="127.0.0.2", port=public.port, tls=tls) as private:
        url = f"{scheme}://{HOST}:{public.port}/"
        assert sent(url, changing).address == "127.0.0.1"
        assert isinstance(changing.resolve, Names)
        assert changing.resolve.asked == [HOST]
        with pytest.raises(TargetRefused):
            sent(url, changing)
    assert (public.connections, private.connections) == (1, 0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_not_followed(network: Networks, status: int) -> None:
    with Receiver(address="127.0.0.2") as private:
        for location in (f"http://127.0.0.2:{private.port}/", f"//127.0.0.2:{private.port}/", "/elsewhere"):
            with Receiver(answering(http(status, b"moved", Location=location))) as receiver:
                answer = sent(f"http://{HOST}:{receiver.port}/", network())
            assert (answer.status, answer.body_excerpt, receiver.connections) == (status, "moved", 1)
    assert private.connections == 0


@pytest.mark.parametrize("header", ["Refresh", "Alt-Svc", "Link", "Content-Location"])
def test_no_header_of_an_answer_leads_anywhere(network: Networks, header: str) -> None:
    with Receiver() as other:
        answer = http(200, b"", **{header: f'0; url="http://127.0.0.1:{other.port}/"'})
        with Receiver(answering(answer)) as receiver:
            assert sent(f"http://{HOST}:{receiver.port}/", network()).status == 200
    assert other.connections == 0


def test_what_the_allow_list_no_longer_holds_is_refused_before_anything_is_looked_up(network: Networks) -> None:
    names = network()
    with pytest.raises(TargetRefused):
        sent(f"https://{HOST}/", names, Allowlist.read("other.example.com"))
    assert isinstance(names.resolve, Names)
    assert names.resolve.asked == []


@pytest.mark.parametrize(
    "behaviour",
    [
        silent,
        endless(b"", b"H", 0.02),
        endless(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n", 0.02),
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
    ],
    ids=["silent", "status line byte by byte", "headers one by one", "one 1xx after the other"],
)
def test_an_answer_that_is_too_slow_to_begin(network: Networks, on_time: None, behaviour: Behaviour) -> None:
    with Receiver(behaviour) as receiver:
        reason = failure(f"http://{HOST}:{receiver.port}/", network(), SHORT_S)
    assert reason == f"{HOST} did not answer within 0.2 s."


@pytest.mark.parametrize("tls", [False, True])
def test_a_body_that_drips_is_cut_at_the_time_limit_and_the_status_stands(
    network: Networks, server_tls: ServerTls, on_time: None, tls: bool
) -> None:
    drips = endless(b"HTTP/1.1 200 OK\r\n\r\nfine", b".", 0.02)
    with Receiver(drips, tls=server_tls() if tls else None) as receiver:
        answer = sent(f"{'https' if tls else 'http'}://{HOST}:{receiver.port}/", network(), timeout_s=SHORT_S)
    assert answer.status == 200
    assert answer.body_excerpt.startswith("fine")
    assert answer.duration_ms >= 1_000 * SHORT_S


@pytest.mark.parametrize(
    ("beginning", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 1_000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3e8\r\n" + b"a" * 1_000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n", b"a" * 1_000),
    ],
    ids=["until it closes", "chunked", "very long"],
)
def test_an_endless_body_is_cut_and_the_status_stands(
    network: Networks, on_time: None, beginning: bytes, piece: bytes
) -> None:
    with Receiver(endless(beginning, piece)) as receiver:
        answer = sent(f"http://{HOST}:{receiver.port}/", network(), timeout_s=60)
    assert (answer.status, answer.body_excerpt) == (200, "a" * EXCERPT_BYTES)


def test_chunks_of_one_byte_with_long_extensions_are_cut_too(network: Networks, on_time: None) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with Receiver(endless(chunked, b"1;" + b"x" * 4_000 + b"\r\na\r\n")) as receiver:
        answer = sent(f"http://{HOST}:{receiver.port}/", network(), timeout_s=60)
    assert answer.status == 200
    assert set(answer.body_excerpt) == {"a"}


@pytest.mark.parametrize(
    ("body", "excerpt"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfine", "fine"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\nwhat\r\n", "fine"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", "abc"),
    ],
    ids=["cut off", "wrong chunks", "compressed unasked"],
)
def test_a_body_that_is_broken_leaves_the_status_as_it_is(network: Networks, body: bytes, excerpt: str) -> None:
    with Receiver(answering(body)) as receiver:
        answer = sent(f"http://{HOST}:{receiver.port}/", network())
    assert (answer.status, answer.body_excerpt) == (200, excerpt)


@pytest.mark.parametrize(
    ("beginning", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-Long: " + b"a" * 1_000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"a" * 1_000),
        (b"", b"a" * 1_000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    ],
    ids=["many headers", "one long header", "no line's end", "100 and no end", "103 and no end"],
)
def test_an_endless_beginning_is_given_up(network: Networks, on_time: None, beginning: bytes, piece: bytes) -> None:
    with Receiver(endless(beginning, piece)) as receiver:
        reason = failure(f"http://{HOST}:{receiver.port}/", network(), 60)
    assert reason == f"The headers of {HOST}'s answer are too long."


def test_a_few_1xx_before_the_answer_are_fine(network: Networks) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    with Receiver(answering(early + http(204))) as receiver:
        assert sent(f"http://{HOST}:{receiver.port}/", network()).status == 204


def test_a_switch_to_another_protocol_is_no_answer(network: Networks) -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nxyz"
    with Receiver(answering(switching)) as receiver:
        assert failure(f"http://{HOST}:{receiver.port}/", network()) == f"{HOST} did not answer with HTTP."


def test_a_server_that_never_begins_with_tls(network: Networks, on_time: None) -> None:
    with Receiver(greeted_in_vain, reads=False) as receiver:
        reason = failure(f"https://{HOST}:{receiver.port}/", network(), SHORT_S)
    assert reason == f"The TLS handshake with {HOST} took longer than 0.2 s."


def test_tls_that_drips_has_one_time_limit_for_all(network: Networks, on_time: None) -> None:
    # The head of a record that will be as long as one may be.
    with Receiver(endless(b"\x16\x03\x03\x40\x00", b"\x02", 0.02), reads=False) as receiver:
        reason = failure(f"https://{HOST}:{receiver.port}/", network(), SHORT_S)
    assert HOST in reason


def test_a_server_that_reads_nothing_of_a_long_webhook(network: Networks, on_time: None) -> None:
    def busy(_connection: socket.socket) -> None:
        receiver.ended.wait(10)

    # More than the buffers of both sides take; to sign it needs a part of the time.
    long_body = bytes(12 << 20)
    with Receiver(busy, reads=False) as receiver:
        reason = failure(f"http://{HOST}:{receiver.port}/", network(), 0.6, body=long_body)
    assert reason == f"{HOST} did not answer within 0.6 s."


def test_an_answer_before_the_webhook_was_read_counts(network: Networks) -> None:
    def answer_early(connection: socket.socket) -> None:
        connection.sendall(http(413, b"too long"))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass

    with Receiver(answer_early, reads=False) as receiver:
        answer = sent(f"http://{HOST}:{receiver.port}/", network(), body=bytes(1 << 20))
    assert (answer.status, answer.body_excerpt) == (413, "too long")


def test_a_resolver_that_never_answers(on_time: None) -> None:
    ended = threading.Event()

    def stuck(_host: str, _port: int) -> Sequence[str]:
        ended.wait(10)
        return []

    reason = failure(f"https://{HOST}/", Network(stuck), SHORT_S)
    ended.set()
    assert reason == f"Resolving {HOST} took longer than 0.2 s."


def test_of_very_many_addresses_each_is_checked_and_few_are_tried(network: Networks) -> None:
    many = [f"127.0.1.{each}" for each in range(200)]
    allowlist = Allowlist.read("http://*:*", "127.0.0.0/8")
    with Receiver(address=many[3]) as receiver:
        assert sent(f"http://{HOST}:{receiver.port}/", network(many), allowlist).address == many[3]
    with Receiver(address=many[4]) as receiver:
        assert "refuses connections" in failure(f"http://{HOST}:{receiver.port}/", network(many), allowlist=allowlist)
    with pytest.raises(TargetRefused):
        sent(f"http://{HOST}:1/", network([*many, "10.0.0.1"]), allowlist)


@pytest.mark.parametrize("path", ["/\r\nX: y", "/ HTTP/1.1", "/\n", "/a\tb", "/\x7f"])
def test_a_url_adds_no_line_to_the_request(network: Networks, path: str) -> None:
    with Receiver() as receiver, pytest.raises(TargetRefused):
        sent(f"http://{HOST}:{receiver.port}{path}", network())
    assert receiver.connections == 0


@pytest.mark.slow
@given(st.text(st.characters(codec="latin-1")) | st.from_regex(r"\A\w{3}, \d+ Jan \d{1,5} 0?0:00:00 [+-]?\w{1,5}\Z"))
def test_no_retry_after_does_harm(value: str) -> None:
    seconds = webhook_http._retry_after_s([(b"Retry-After", value.encode("latin-1", "replace"))])
    assert seconds is None or 0 <= seconds <= 86_400


def test_no_connection_is_left_open(network: Networks, server_tls: ServerTls) -> None:
    with (
        Receiver(answering(b"no")) as plain,
        Receiver(tls=server_tls("other.example.com")) as other,
        Receiver(answering(b"no"), reads=False) as hasty,
    ):
        for url in (f"http://{HOST}:{plain.port}/", f"https://{HOST}:{other.port}/", f"https://{HOST}:{hasty.port}/"):
            failure(url, network())
        ports = {plain.port, other.port, hasty.port}
        assert not [each for each in psutil.Process().net_connections() if each.raddr and each.raddr[1] in ports]
