"""URLs of sentinels: what they say, what Celery gets of them, and what is refused."""

from __future__ import annotations

import pytest

from workers import sentinel_url
from workers.errors import SettingsWrong
from workers.settings import load

FULL = (
    "sentinel://me:p%40ss@one:26379;sentinel://two;sentinel://[::1]:5/3"
    "?master_name=main&sentinel_username=you&sentinel_password=s3cret&ssl_ca_certs=/ca.crt"
)


def test_a_url_says_where_sentinels_are_and_how_both_they_and_the_servers_are_spoken_to() -> None:
    parsed = sentinel_url.parse(FULL)
    assert parsed.sentinels == (("one", 26379), ("two", 26379), ("::1", 5))
    assert (parsed.master_name, parsed.database) == ("main", 3)
    assert parsed.server_url == "rediss://me:p%40ss@master/3?ssl_cert_reqs=required&ssl_ca_certs=%2Fca.crt"
    tls = {"ssl": True, "ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.crt"}
    assert parsed.sentinel_options({"a": 1}) == {"username": "you", "password": "s3cret", **tls, "a": 1}


def test_celery_gets_kombus_own_form() -> None:
    parsed = sentinel_url.parse("sentinel://:pw@one:1;sentinel://two:2/0?master_name=main")
    assert parsed.celery_url == "sentinel://:pw@one:1/0;sentinel://:pw@two:2/0"
    assert parsed.celery_options({}) == {"master_name": "main", "sentinel_kwargs": {}}


def test_sentinels_may_speak_plain_tcp_beside_servers_with_tls() -> None:
    parsed = sentinel_url.parse("sentinel://one?master_name=main&ssl=true&sentinel_ssl=false")
    assert (parsed.tls, parsed.sentinel_tls) == ({"ssl_cert_reqs": "required"}, None)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sentinel://one:26379/0", "name that the sentinels know"),
        ("sentinel://one:x/0?master_name=a", "the port is no number from 0 to 65535"),
        ("sentinel://one,two/0?master_name=a&mastername=b", "unknown option 'mastername'"),
        ("sentinel://one;two:1/0?master_name=a", "semicolons between"),
        ("sentinel://:s3cret@one/1;sentinel://two/2?master_name=a", "different users, passwords or databases"),
        ("sentinel://:s3cret@/1?master_name=a", "no host"),
        ("sentinel://one/x?master_name=a", "is no number"),
        ("sentinel://one?master_name=a&ssl=yes", "ssl is neither true nor false"),
    ],
)
@pytest.mark.parametrize("variable", ["QUEUECAST_REDIS_URL", "QUEUECAST_BROKER_URL"])
def test_a_wrong_url_is_named_without_its_password(
    url: str, why: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, url)
    load.cache_clear()
    with pytest.raises(SettingsWrong) as caught:
        load()
    load.cache_clear()
    assert str(caught.value).startswith(f"{variable}: ")
    assert why in str(caught.value)
    assert "s3cret" not in str(caught.value)
