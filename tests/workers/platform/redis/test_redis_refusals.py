"""A start says why a Redis or its sentinels can't be used, in plain words; real servers refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.servers.replicated_redis import ReplicatedRedis
from tests.support.servers.secured_redis import certificates, tls_options
from tests.support.service.ports import free_port
from tests.workers.platform.redis.test_masters import ClusterNode
from workers.errors import SettingsWrong
from workers.platform.redis.start_check import refuse_wrong_redis
from workers.settings import load

pytestmark = pytest.mark.servers

OF_SERVERS, OF_SENTINELS, WRONG = "only-for-tests", "only-for-sentinels", "wr0ng"
#: What drivers say, and people needn't read.
DRIVER = ("Error ", "Errno", "[SSL", "WRONGPASS", "NOAUTH", "NOPERM", "ERR ", "No master found", "redis.", "Traceback")
LINES = (
    f"sentinel auth-pass mymaster {OF_SERVERS}",
    f"requirepass {OF_SENTINELS}",
    "user blind on >blind -@all +ping +hello",
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicatedRedis]:
    """A master and sentinels with passwords."""
    options = {"requirepass": OF_SERVERS, "masterauth": OF_SERVERS}
    redis = ReplicatedRedis(tmp_path_factory.mktemp("plain"), options, replicas=0, sentinel_lines=LINES)
    redis.password = OF_SENTINELS
    with redis:
        yield redis


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicatedRedis]:
    """The same with TLS."""
    folder = tmp_path_factory.mktemp("tls")
    options = {"requirepass": OF_SERVERS, "masterauth": OF_SERVERS, **tls_options(folder / "certificates")}
    redis = ReplicatedRedis(folder / "redis", options, replicas=0, sentinel_lines=LINES)
    redis.password = OF_SENTINELS
    with redis:
        yield redis


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Tells what a start says of a URL."""

    def said(url: str) -> str:
        monkeypatch.setenv("QUEUECAST_REDIS_URL", url)
        load.cache_clear()
        with pytest.raises(SettingsWrong) as caught:
            refuse_wrong_redis()
        text = str(caught.value)
        assert text.startswith("QUEUECAST_REDIS_URL: ")
        assert not [each for each in (*DRIVER, OF_SERVERS, OF_SENTINELS, WRONG) if each in text]
        assert caught.value.__suppress_context__ or caught.value.__cause__
        return text

    yield said
    load.cache_clear()


def url_of(redis: ReplicatedRedis, replaced: dict[str, str]) -> str:
    url = redis.url_of(f":{OF_SERVERS}@")
    for old, new in replaced.items():
        assert old in url
        url = url.replace(old, new)
    return url


OWN = f"&sentinel_password={OF_SENTINELS}"


@pytest.mark.parametrize(
    ("replaced", "what"),
    [
        ({OWN: f"&sentinel_password={WRONG}"}, "refuses the user or the password: correct sentinel_username"),
        ({OWN: f"&sentinel_username=x{OWN}"}, "refuses the user or the password: correct sentinel_username"),
        ({OWN: ""}, "asks for a password, and the URL has none: add sentinel_username and sentinel_password"),
        ({OWN: "&sentinel_username=blind&sentinel_password=blind"}, "needed: +ping +hello +sentinel|masters"),
        ({"=mymaster": "=other"}, "know no master of the name 'other' (they know: mymaster). Set master_name"),
        ({f":{OF_SERVERS}@": f":{WRONG}@"}, "which the sentinels name, refuses the user or the password"),
        ({f":{OF_SERVERS}@": ""}, "which the sentinels name, asks for a password, and the URL has none: add user"),
        ({OWN: f"{OWN}&ssl=true"}, "speaks no TLS, and the URL asks for it: write sentinel_ssl=false"),
        ({OWN: f"{OWN}&ssl=true&sentinel_ssl=false"}, "which the sentinels name, speaks no TLS"),
    ],
)
def test_what_sentinels_and_their_master_refuse_is_named(
    plain: ReplicatedRedis, refused: Callable[[str], str], replaced: dict[str, str], what: str
) -> None:
    assert what in refused(url_of(plain, replaced))


@pytest.mark.parametrize(
    ("replaced", "what"),
    [
        ({"&ssl_ca_certs=CA": "&ssl_ca_certs=OTHER"}, "is not trusted: ssl_ca_certs has to name the file"),
        ({"&ssl_ca_certs=CA": "&ssl=true"}, "is not trusted: ssl_ca_certs has to name the file"),
        ({"&ssl_ca_certs=CA": "&ssl_ca_certs=/no/such/ca.crt"}, "names does not exist"),
        ({"&ssl_ca_certs=CA": ""}, "speaks TLS, and the URL asks for none: write sentinel_ssl=true"),
        ({"&ssl_ca_certs=CA": "&ssl_ca_certs=CA&ssl=false&sentinel_ssl=true"}, "name, speaks TLS, and the URL asks"),
        ({OWN: f"&sentinel_password={WRONG}"}, "refuses the user or the password: correct sentinel_username"),
    ],
)
def test_what_tls_refuses_is_named(
    tls: ReplicatedRedis, refused: Callable[[str], str], replaced: dict[str, str], what: str, tmp_path: Path
) -> None:
    places = {"CA": str(tls.ca), "OTHER": str(certificates(tmp_path))}
    filled = {}
    for old, new in replaced.items():
        filled[_filled(old, places)] = _filled(new, places)
    assert what in refused(url_of(tls, filled))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ("ssl_ca_certs=EMPTY", "holds no certificate or key in PEM"),
        ("ssl_ca_certs=FOLDER", "can't be read: correct its path"),
        ("ssl_certfile=TEXT&ssl_keyfile=TEXT", "holds no certificate or key in PEM"),
    ],
)
def test_a_file_that_can_not_be_used_for_tls_is_named(
    plain: ReplicatedRedis, refused: Callable[[str], str], options: str, what: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("no certificate")
    places = {"EMPTY": f"{tmp_path}/empty", "FOLDER": str(tmp_path), "TEXT": f"{tmp_path}/text"}
    assert what in refused(f"rediss://127.0.0.1:{plain.servers[0].port}/0?{_filled(options, places)}")


def _filled(text: str, places: dict[str, str]) -> str:
    for name, path in places.items():
        text = text.replace(f"={name}", f"={path}")
    return text


def test_a_cluster_behind_sentinels_is_named(tmp_path: Path, refused: Callable[[str], str]) -> None:
    cluster = ReplicatedRedis(tmp_path / "sentinels", replicas=0)
    cluster.servers = [ClusterNode(tmp_path / "node")]
    with cluster:
        assert "cluster mode" in refused(cluster.sentinel_url)


def test_a_server_in_place_of_a_sentinel_is_named(plain: ReplicatedRedis, refused: Callable[[str], str]) -> None:
    url = f"sentinel://127.0.0.1:{plain.servers[0].port}/0?master_name=mymaster&sentinel_password={OF_SERVERS}"
    assert "is no sentinel" in refused(url)


def test_a_right_url_and_sentinels_that_are_away_are_not_refused(
    plain: ReplicatedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in (url_of(plain, {}), f"sentinel://127.0.0.1:{free_port()}/0?master_name=mymaster"):
        monkeypatch.setenv("QUEUECAST_REDIS_URL", url)
        load.cache_clear()
        refuse_wrong_redis()
    load.cache_clear()
