"""The artifact store in a bucket: what it stores, what it refuses, and that it doesn't wait for ever."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from registry import migrate, versions
from registry.artifacts import s3
from registry.artifacts.named_files import NamedFiles
from registry.artifacts.store import ArtifactStore
from registry.database import Database
from registry.errors import ArtifactDamaged, ArtifactMissing, ArtifactStoreUnavailable
from registry.upkeep import pruning
from tests.support.servers.s3 import BUCKET, S3Server
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow
CONTENT = b"model"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PLACE = f"artifacts/sha256/{SHA256[:2]}/{SHA256}"


@pytest.fixture(autouse=True)
def _aws(bucket: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bucket.env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def store(bucket: S3Server) -> Iterator[ArtifactStore]:
    yield ArtifactStore(f"s3://{BUCKET}/artifacts")
    for name in bucket.objects("artifacts/"):
        bucket.client.delete_object(Bucket=BUCKET, Key=name)


def test_an_artifact_is_one_object_named_by_its_checksum(store: ArtifactStore, bucket: S3Server) -> None:
    assert store.put(CONTENT).sha256 == store.put(BytesIO(CONTENT)).sha256 == SHA256
    assert bucket.objects("artifacts/") == [PLACE]
    assert bucket.read(PLACE) == store.get(SHA256) == CONTENT


def test_a_named_file_is_put_as_a_whole_replaced_listed_and_deleted(store: ArtifactStore, bucket: S3Server) -> None:
    files = NamedFiles(store.url)
    assert list(files.find("journal")) == []
    files.write("journal/day=1/a.parquet", b"first")
    files.write("journal/day=1/a.parquet", CONTENT)
    [found] = files.find("journal")
    assert (found.name, found.size_bytes) == ("journal/day=1/a.parquet", len(CONTENT))
    assert bucket.read(f"artifacts/{found.name}") == files.read(found.name) == CONTENT
    with files.reading(found.name) as opened:
        assert opened is not None
        opened.seek(1)
        assert opened.read() == CONTENT[1:]
    files.remove(found.name)
    files.remove(found.name)
    assert files.read(found.name) is None
    with files.reading(found.name) as absent:
        assert absent is None


def test_a_large_artifact_is_stored_in_parts(store: ArtifactStore) -> None:
    large = os.urandom(60 << 20)
    assert store.get(store.put(large).sha256) == large


def test_what_others_store_and_delete_is_seen_at_once(store: ArtifactStore, bucket: S3Server) -> None:
    assert not store.exists(SHA256)
    bucket.write(PLACE, CONTENT)
    assert store.exists(SHA256)
    bucket.client.delete_object(Bucket=BUCKET, Key=PLACE)
    assert not store.exists(SHA256)
    with pytest.raises(ArtifactMissing):
        store.get(SHA256)
    store.delete(SHA256)


def test_other_bytes_under_its_name_are_refused(store: ArtifactStore, bucket: S3Server) -> None:
    bucket.write(PLACE, b"something else")
    with pytest.raises(ArtifactDamaged, match=SHA256):
        store.get(SHA256)


def test_a_bucket_that_is_not_there_is_named_and_never_made(bucket: S3Server) -> None:
    with pytest.raises(ArtifactStoreUnavailable, match="bucket doesn't exist"):
        ArtifactStore("s3://mistyped/artifacts").put(CONTENT)
    assert "mistyped" not in [each["Name"] for each in bucket.client.list_buckets()["Buckets"]]


def test_wrong_credentials_are_refused_without_showing_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wr0ng")
    with pytest.raises(ArtifactStoreUnavailable) as caught:
        ArtifactStore(f"s3://{BUCKET}/artifacts").put(CONTENT)
    assert "refuses" in str(caught.value)
    assert "wr0ng" not in str(caught.value)


@pytest.mark.long
# The libraries' own limits take it to minutes; it is the test's limit that shows it.
@pytest.mark.timeout(45)
def test_a_server_that_says_nothing_or_is_gone_is_given_up(
    store: ArtifactStore, bucket: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3.BoundedS3, "read_timeout", 0.5)
    bucket.freeze()
    try:
        with pytest.raises(ArtifactStoreUnavailable):
            store.put(CONTENT)
    finally:
        bucket.thaw()
    bucket.stop()
    try:
        with pytest.raises(ArtifactStoreUnavailable):
            store.get(SHA256)
    finally:
        bucket.start()
    eventually(lambda: stored(store), message="the same store goes on when the server is back")


def stored(store: ArtifactStore) -> bool:
    try:
        return store.put(CONTENT).sha256 == SHA256
    except ArtifactStoreUnavailable:
        return False


def test_what_nothing_needs_is_listed_with_its_age_and_pruned(
    store: ArtifactStore, bucket: S3Server, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/registry.db"
    migrate.upgrade(url)
    database = Database(url)
    with database.session() as session:
        for content in (b"kept", b"gone"):
            versions.add_version(session, store, "house", content, runtime="python", input_example=[1.0])
        versions.delete_version(session, "house", "2")
        session.commit()
    bucket.write(f"artifacts/incoming/{'a' * 32}", b"half")
    assert all(abs(time.time() - each.modified_at) < 60 for each in store.list_artifacts())
    # Other tests' uploads may be there, too: a server that went away has kept what it had.
    assert 4 in [each.size_bytes for each in store.list_uploads()]
    found = pruning.prune(database, store)
    assert (found.deleted, len(found.too_young), found.needed_count) == ([], 1, 1)
    assert [each.versions for each in pruning.prune(database, store, grace_s=0).deleted] == [["house 2"]]
    kept = hashlib.sha256(b"kept").hexdigest()
    assert bucket.objects("artifacts/sha256/") == [f"artifacts/sha256/{kept[:2]}/{kept}"]
    database.close()
