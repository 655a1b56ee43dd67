"""A backup is made while the service runs, everything is destroyed, and a new service begins with the backup."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy.orm import Session

from api.cli.command import queuecast
from registry import checking, deployments, migrate, versions
from registry.artifacts.store import ArtifactStore
from registry.database import Database, default_database
from tests.support.calls import Document, expect
from tests.support.documentation import documented_commands
from tests.support.loads.load import Load
from tests.support.models import Echo, Gate, Mortal, dumped
from tests.support.servers.postgres import PostgresCluster
from tests.support.service.environment import clean_environment, forget_cached_settings
from tests.support.service.ports import free_port
from tests.support.service.stack import Stack
from workers.embedded_redis import snapshot
from workers.embedded_redis.server import EmbeddedRedis

pytestmark = pytest.mark.slow

SHORT = {"QUEUECAST_LEASE_S": "2", "QUEUECAST_RECONCILE_INTERVAL_S": "0.5", "QUEUECAST_SHUTDOWN_GRACE_S": "0"}


class Embedded(Stack):
    """A service that keeps all that it has in one folder, as `queuecast run` does."""

    def __init__(self, folder: Path, database_url: str | None = None) -> None:
        super().__init__(folder, database_url=database_url, env=SHORT)
        self.data = folder / "data"
        self.redis = EmbeddedRedis(self.redis.port, self.data / "redis")


@dataclass
class Before:
    """What a service had when the backup began."""

    finished: list[Document]
    dead_letter: Document
    #: The rows of jobs that had not ended.
    unfinished: dict[str, str]
    models: Document


def fill(service: Embedded) -> Before:
    """Give a service models, deployments, and jobs in every state."""
    service.start_worker(wait=False)
    for mark in "12":
        service.register("echo", Echo(mark))
    service.register("gate", Gate("g"))
    service.register("mortal", Mortal("m"))
    service.deploy("echo", version="2", endpoint_name="idle", worker_group="elsewhere", wait_s=0)
    service.deploy("gate", endpoint_name="held", max_batch_size=1, wait_s=0)
    service.deploy("mortal", endpoint_name="deadly", max_attempts=1, wait_s=0)
    service.deploy("echo", version="1", endpoint_name="prod")
    finished = service.ended(service.submit_all("prod", "abc"))
    [dead] = service.ended([service.submit("deadly", "kill")])

    gate = str(service.folder / "gate")
    running = service.submit("held", gate)
    service.wait_until_running([running])
    unfinished = {running: gate}
    unfinished |= {service.submit("held", row): row for row in ("x", "y")}  # leased, and in the worker
    unfinished |= {service.submit("idle", row): row for row in "pqr"}  # in the queue
    return Before(finished, service.api.get(f"/dead-letters/{dead['job_id']}").json(), unfinished, models(service))


def models(service: Stack) -> Document:
    return {name: expect(200, service.api.get(f"/models/{name}")) for name in ("echo", "gate", "mortal")}


def check(service: Embedded, before: Before, folder_before: Path) -> None:
    """Start workers on what was restored, and look for all that there was."""
    assert models(service) == before.models
    assert [service.job(each["job_id"]) for each in before.finished] == before.finished
    dead = expect(200, service.api.get(f"/dead-letters/{before.dead_letter['job_id']}"))
    assert dead == before.dead_letter
    gate = folder_before / "gate"
    gate.parent.mkdir(parents=True, exist_ok=True)
    gate.touch()  # what ran can run to its end now
    for name, group in (("worker", "default"), ("second", "elsewhere")):
        service.start_worker(name, group, wait=False)
    for outcome, row in zip(service.outcomes(before.unfinished), before.unfinished.values(), strict=True):
        assert outcome["prediction"][1] == row
    service.deploy("echo", version="2", endpoint_name="prod")
    assert service.predict("prod", "new")["prediction"] == ["2", "new"]
    expect(202, service.api.post(f"/dead-letters/{dead['job_id']}/replay", json={"endpoint_name": "prod"}))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Before, Path]:
    """A backup, what it must have, and the folder of the service that was destroyed."""
    folder, target = tmp_path_factory.mktemp("before") / "stack", tmp_path_factory.mktemp("backups") / "first"
    with Embedded(folder) as service:
        before = fill(service)
        with Load(service.url, "prod") as load:
            load.wait_for(20)
            said = json.loads(service.queuecast("backup", str(target), "--json").stdout)
            load.wait_for(20)
        assert load.refused == []
    assert said["artifacts"] == 4
    shutil.rmtree(folder)
    return target, before, folder


def test_a_backup_of_a_running_service_begins_a_new_one(made: tuple[Path, Before, Path], tmp_path: Path) -> None:
    target, before, folder_before = made
    service = Embedded(tmp_path / "after")
    assert "is restored" in service.queuecast("restore", str(target)).stdout
    with service:
        check(service, before, folder_before)
        assert "4 of 4 artifacts are intact" in service.run("-m", "registry.checking").stdout
        next(path for path in (service.data / "artifacts").rglob("*") if path.is_file()).write_bytes(b"nonsense")
        found = service.run("-m", "registry.checking", check=False)
        assert (found.returncode, "is damaged" in found.stdout, "3 of 4" in found.stdout) == (1, True, True)


def test_a_stopped_service_is_backed_up_too(
    made: tuple[Path, Before, Path], tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, _, _ = made
    # Other tests' Redis may run where this process's settings lead.
    monkeypatch.setenv("QUEUECAST_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    forget_cached_settings()
    assert "There is no registry in" in run("backup", tmp_path / "nothing")
    migrate.upgrade()
    assert "No Redis answers at" in run("backup", tmp_path / "nothing")
    shutil.rmtree(data_dir)
    run("restore", target)
    assert "is not empty" in run("backup", target)
    assert "There is already a registry in" in run("restore", target)
    secret = data_dir / "webhook-secret"
    secret.write_text("whsec_known to receivers\n")
    run("backup", tmp_path / "second")
    shutil.rmtree(data_dir)
    run("restore", tmp_path / "second")
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("whsec_known to receivers\n", 0o600)
    assert "is whole" in run("restore", "--check", tmp_path / "second")


@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("artifacts", "the artifact of"),
        ("redis.rdb", "is damaged"),
        ("registry.db", "is damaged"),
        ("backup.json", "is no"),
    ],
)
def test_a_damaged_backup_is_not_restored(
    made: tuple[Path, Before, Path], data_dir: Path, tmp_path: Path, name: str, message: str
) -> None:
    copy = shutil.copytree(made[0], tmp_path / "copy")
    path = next((copy / name).iterdir()) if name == "artifacts" else copy / name
    path.write_bytes(path.read_bytes()[:-3])
    assert message in run("restore", copy)
    assert list(data_dir.iterdir()) == []


def run(*arguments: str | Path) -> str:
    """Run the command in this process, with this process's settings; return what it says."""
    return CliRunner().invoke(queuecast, list(map(str, arguments))).output


@pytest.mark.postgres
def test_postgresql_is_backed_up_and_restored_as_the_page_says(
    tmp_path: Path, data_dir: Path, postgres_cluster: PostgresCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, new_url = postgres_cluster.create_database(), postgres_cluster.create_database()
    migrate.upgrade(url)
    artifacts, backups = data_dir / "artifacts", tmp_path / "backups"
    with contents_of(url) as session:
        version = versions.add_version(
            session, ArtifactStore(str(artifacts)), "m", dumped(Echo("1")), runtime="python", input_example="a"
        )
        deployed = deployments.deploy(session, "m")
        session.commit()
    shell("postgresql: backup", DATABASE_URL=url, QUEUECAST_ARTIFACTS_URL=artifacts, BACKUP=backups)
    postgres_cluster.drop_database(url)
    shutil.rmtree(artifacts)

    shell("postgresql: restore", DATABASE_URL=new_url, QUEUECAST_ARTIFACTS_URL=artifacts, BACKUP=backups)
    with contents_of(new_url) as session:
        assert versions.get_version(session, "m", "1") == version
        assert deployments.find(session, "m-v1") == deployed
    assert migrate.current(new_url) == migrate.head()
    monkeypatch.setenv("DATABASE_URL", new_url)
    forget_cached_settings()
    assert checking.main() == 0
    default_database().close()
    assert "PostgreSQL" in run("backup", tmp_path / "wrong")
    postgres_cluster.drop_database(new_url)


@contextmanager
def contents_of(url: str) -> Iterator[Session]:
    database = Database(url)
    with database.session() as session:
        yield session
    database.close()


def shell(name: str, **variables: str | Path) -> None:
    """Run a block of commands of docs/guides/operations.md."""
    script = documented_commands("operations.md", name)
    env = clean_environment(**{each: str(value) for each, value in variables.items()})
    done = subprocess.run(["sh", "-eu", "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.servers
def test_a_redis_with_an_append_only_file_never_looks_at_a_dump(tmp_path: Path) -> None:
    with EmbeddedRedis(free_port(), tmp_path / "first") as server, snapshot._client(server.url) as client:
        client.set("a", "1")
        snapshot.save(server.url, tmp_path / "first", tmp_path / "saved.rdb")
    assert not (tmp_path / "first" / "dump.rdb").exists()
    for name, expected in (("dump.rdb", None), ("appendonly.aof", "1")):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(tmp_path / "saved.rdb", folder / name)
        for _ in range(2):  # and it is the same after another restart
            with EmbeddedRedis(free_port(), folder) as server, snapshot._client(server.url) as client:
                assert client.get("a") == expected
