"""The allow-list of webhooks: hosts, URLs that programs parse differently, and addresses."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.documentation import text_of
from workers.errors import TargetRefused
from workers.platform.http_url import MOST_CHARACTERS
from workers.webhooks.allowlist import Allowlist

#: As much as the list of hosts can allow.
ANY_HOST = Allowlist.read("*:* http://*:*")
#: Loopback as every spelling that some resolver, browser or library takes for it.
SPELLINGS_OF_LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0X7F.1",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0.01",
    "127.0.0.001",
    "127.0.0.1.",
    "0x7f.0.0.0x",
    "000000127.0.0.1",
    "4294967296",
    "127.0.0.256",
    "0",
    "0.0.0.0",
    "0x",
    "1.2.3.4.5",
    "127%2e0%2e0%2e1",
    "127.0.0.1%00",
    "127.0.0.1%00.example.com",
    "%31%32%37.0.0.1",
    "１２７.０.０.１",  # noqa: RUF001 - digits of another width
    "127。0。0。1",
    "127｡0｡0｡1",
    "127．0．0．1",  # noqa: RUF001
    "①②⑦.⓪.⓪.①",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::0001]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:7f00:0001::1]",
    "[2001:0:7f00:1::]",
    "[::1%lo]",
    "[::1%25lo]",
    "[fe80::1%25eth0]",
    "[::ffff:127.0.0.1%25lo]",
    "[::1]]",
    "[[::1]]",
    "::1",
    "[v1.::1]",
    "[127.0.0.1]",
]
NOT_PUBLIC = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.255", "168.63.129.16",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.0.1",
    "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:10.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b::a00:1",
    "64:ff9b::169.254.169.254", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:a00:1::", "3fff::1",
    "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0",
    "192.167.255.255", "192.169.0.0", "223.255.255.255", "2606:4700::1111", "2a00:1450::1", "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
]  # fmt: skip


def test_the_documented_settings_allow_what_the_page_says() -> None:
    page = text_of("webhooks.md")
    values = dict(re.findall(r"^export QUEUECAST_WEBHOOK_(HOSTS|PRIVATE_NETWORKS)='(.*)'$", page, re.MULTILINE))
    allowlist = Allowlist.read(values["HOSTS"], values["PRIVATE_NETWORKS"])
    allowlist.check_url("http://hooks.internal:8080/done")
    allowlist.check_address("10.1.7.9")
    [table] = re.findall(r"\| entry \| allows \|\n\|---\|---\|\n((?:\|.*\n)+)", page)
    entries = [entry for row in table.splitlines() for entry in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(Allowlist.read(" ".join(entries)).hosts) == 6


def refusal(allowlist: Allowlist, url: str) -> str:
    with pytest.raises(TargetRefused) as caught:
        allowlist.check_url(url)
    return str(caught.value)


@pytest.mark.parametrize("host", SPELLINGS_OF_LOOPBACK)
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_no_spelling_of_an_address_that_is_not_public_gets_through(scheme: str, host: str) -> None:
    for url in (f"{scheme}://{host}/hook", f"{scheme}://{host}:8443", f"{scheme.upper()}://{host}"):
        refusal(ANY_HOST, url)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused_and_the_text_tells_nobody_which(address: str) -> None:
    with pytest.raises(TargetRefused, match="QUEUECAST_WEBHOOK_PRIVATE_NETWORKS") as caught:
        ANY_HOST.check_address(address)
    assert address not in str(caught.value).split()
    assert caught.value.address == address


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_fine(address: str) -> None:
    ANY_HOST.check_address(address)


@given(st.ip_addresses(v=4))
def test_what_python_calls_private_is_never_public(address: IPv4Address) -> None:
    if not address.is_global or address.is_multicast:
        for form in (str(address), f"::ffff:{address}", f"64:ff9b::{address}"):
            with pytest.raises(TargetRefused):
                ANY_HOST.check_address(form)


def test_an_allowed_network_lets_its_own_addresses_through_and_no_others() -> None:
    allowlist = Allowlist.read("*", "10.1.0.0/16, fd00:1::/32 127.0.0.1")
    for allowed in ("10.1.255.255", "::ffff:10.1.0.1", "64:ff9b::10.1.0.1", "fd00:1::5", "127.0.0.1"):
        allowlist.check_address(allowed)
    for refused in ("10.2.0.1", "::ffff:10.2.0.1", "fd00:2::5", "127.0.0.2", "169.254.169.254", "::1", "::a01:1"):
        with pytest.raises(TargetRefused):
            allowlist.check_address(refused)
    allowlist.check_address(ip_address("10.1.0.1"))


@pytest.mark.parametrize(
    ("hosts", "url"),
    [
        ("hooks.example.com", "https://hooks.example.com"),
        ("hooks.example.com", "https://hooks.example.com:443/a/b?c=d&e=%20"),
        ("HOOKS.example.com", "HTTPS://Hooks.Example.COM/"),
        ("https://hooks.example.com", "https://hooks.example.com?a"),
        ("hooks.example.com:8443", "https://hooks.example.com:8443/"),
        ("hooks.example.com:*", "https://hooks.example.com:9/"),
        ("a.example *.example.org,b.example", "https://x.y.example.org/"),
        ("*.example.org:*", "https://x.example.org:8443/"),
        ("xn--bcher-kva.example", "https://xn--bcher-kva.example/"),
        ("http://hooks.internal:8080", "http://hooks.internal:8080/x"),
        ("http://hooks_1", "http://hooks_1/x"),
        ("1.1.1.1", "https://1.1.1.1/"),
        ("[2606:4700::1111]", "https://[2606:4700:0:0::1111]/"),
        ("*", "https://anything.example/"),
        ("*", "https://1.1.1.1/"),
    ],
)
def test_an_allowed_host_is_fine(hosts: str, url: str) -> None:
    Allowlist.read(hosts).check_url(url)


@pytest.mark.parametrize(
    ("hosts", "url"),
    [
        ("", "https://hooks.example.com/"),
        ("hooks.example.com", "http://hooks.example.com/"),
        ("hooks.example.com", "https://hooks.example.com:8443/"),
        ("hooks.example.com", "https://hooks.example.com.evil.example/"),
        ("hooks.example.com", "https://xhooks.example.com/"),
        ("hooks.example.com", "https://hooks-example.com/"),
        ("*.example.org", "https://example.org/"),
        ("*.example.org", "https://evilexample.org/"),
        ("*.example.org", "https://x.example.org.evil.example/"),
        ("http://hooks.internal", "https://hooks.internal/"),
        ("http://hooks.internal", "http://hooks.internal:8080/"),
        ("*", "http://anything.example/"),
        ("*", "https://anything.example:22/"),
    ],
)
def test_any_other_is_refused_with_what_to_do(hosts: str, url: str) -> None:
    assert "QUEUECAST_WEBHOOK_HOSTS" in refusal(Allowlist.read(hosts), url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "has to begin with https://"),
        ("hooks.example.com", "has to begin with https://"),
        ("//hooks.example.com", "has to begin with https://"),
        ("https:hooks.example.com", "has to begin with https://"),
        ("https:/hooks.example.com", "has to begin with https://"),
        (" https://hooks.example.com", "has to begin with https://"),
        ("ht\ntps://hooks.example.com", "has to begin with https://"),
        ("file:///etc/passwd", "has to begin with https://"),
        ("gopher://hooks.example.com/", "has to begin with https://"),
        ("unix:///var/run/docker.sock", "has to begin with https://"),
        ("https://user@hooks.example.com/", "a user or a password"),
        ("https://user:word@hooks.example.com/", "a user or a password"),
        ("https://evil.example\\@hooks.example.com/", "a user or a password"),
        ("https://evil.example\\.hooks.example.com/", "no name"),
        ("https://hooks.example.com#@evil.example/", "after #"),
        ("https://hooks.example.com/#", "after #"),
        ("https:///hooks.example.com", "no name"),
        ("https://.example.com/", "no name"),
        ("https://hooks..example.com/", "no name"),
        ("https://hooks.example.com./", "no name"),
        ("https://hooks.example.com\r\n/", "no name"),
        ("https://hooks example.com/", "no name"),
        ("https://hooks%2eexample.com/", "no name"),
        (f"https://{'a' * 64}.example/", "no name"),
        (f"https://{'a.' * 127}example/", "no name"),
        ("https://höoks.example.com/", "xn--"),
        ("https://hoo\u212as.example.com/", "xn--"),  # the sign of kelvin is a k in lower case
        ("https://hooks.example.com:/", "the port"),
        ("https://hooks.example.com:0/", "the port"),
        ("https://hooks.example.com:65536/", "the port"),
        ("https://hooks.example.com:443443443/", "the port"),
        ("https://hooks.example.com:+443/", "the port"),
        ("https://hooks.example.com:٤٤٣/", "the port"),
        ("https://hooks.example.com:443:80/", "the port"),
        ("https://hooks.example.com/a b", "percent-encode"),
        ("https://hooks.example.com/a\r\nHost: evil", "percent-encode"),
        ("https://hooks.example.com/ HTTP/1.1\r\nX: y\r\n\r\n", "percent-encode"),
        ("https://hooks.example.com/\x00", "percent-encode"),
        ("https://hooks.example.com/ü", "percent-encode"),
        ("https://hooks.example.com/\\evil", "percent-encode"),
        ("https://hooks.example.com?\x7f", "percent-encode"),
    ],
)
def test_a_url_that_two_programs_could_read_differently_is_refused(url: str, why: str) -> None:
    assert why in refusal(ANY_HOST, url)


def test_a_url_has_a_longest_length() -> None:
    url = "https://hooks.example.com/".ljust(MOST_CHARACTERS, "a")
    ANY_HOST.check_url(url)
    assert str(MOST_CHARACTERS) in refusal(ANY_HOST, url + "a")


@given(st.text(max_size=40) | st.from_regex(r"https?://[^/]{1,20}(:[0-9]+)?/.{0,5}", fullmatch=True))
def test_any_text_is_a_target_or_refused(url: str) -> None:
    try:
        target = ANY_HOST.check_url(url)
    except TargetRefused:
        return
    assert target.host.isascii()
    assert target.path.startswith("/")
    assert f"{target.scheme}://" == url[: len(target.scheme) + 3].lower()


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("https://Hooks.example.com:443?a=b", "hooks.example.com", "/?a=b"),
        ("https://hooks.example.com:8443//x", "hooks.example.com:8443", "//x"),
        ("http://[2606:4700::1111]:80/", "[2606:4700::1111]", "/"),
        ("http://[2606:4700::1111]:443/", "[2606:4700::1111]:443", "/"),
    ],
)
def test_a_url_is_taken_apart_once(url: str, authority: str, path: str) -> None:
    target = ANY_HOST.check_url(url)
    assert (target.authority, target.path) == (authority, path)


@pytest.mark.parametrize(
    "hosts",
    [
        "ftp://a.example", "a.example/path", "a.example:99999", "a.example:0", "a.example:x", "*.", "*.*", "a.*",
        "*a.b", "https://", "user@a.example", "127.1", "0x7f.1", "::1", "[::1", "[::g]", "bücher.example",
        "a.example.", "**", "hoo\u212as.example",
    ],
)  # fmt: skip
def test_an_entry_of_the_list_that_is_none_is_named(hosts: str) -> None:
    with pytest.raises(ValueError, match=r"not a host such as|the host|the port") as caught:
        Allowlist.read(f"fine.example {hosts}")
    assert repr(hosts) in str(caught.value)


@pytest.mark.parametrize("networks", ["10.0.0.1/8", "10.0.0.0/33", "local", "fd00::/129", "10.0.0.0-10.0.0.9"])
def test_a_network_that_is_none_is_named(networks: str) -> None:
    with pytest.raises(ValueError, match="is not a network such as 10") as caught:
        Allowlist.read("", f"10.1.0.0/16 {networks}")
    assert repr(networks) in str(caught.value)
