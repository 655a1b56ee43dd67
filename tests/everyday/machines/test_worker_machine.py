"""The guide to a second machine, step by step on one: Redis, registry and artifacts move, and a worker joins."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.everyday.conftest import run_block, with_programs
from tests.support.documentation import documented_commands, text_of
from tests.support.servers import s3
from tests.support.servers.postgres import PostgresCluster
from tests.support.servers.s3 import BUCKET, S3Server
from tests.support.service.processes import Child
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers.embedded_redis import redis_binary

PAGE = "add-a-worker-machine.md"
PASSWORD = "letters-and-digits"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(s3.required_program(), tmp_path_factory.mktemp("s3") / "server") as server:
        yield server


@pytest.mark.timeout(400)
@pytest.mark.postgres
def test_a_second_machine_joins_a_service_of_one(
    postgres_cluster: PostgresCluster, bucket: S3Server, tmp_path: Path
) -> None:
    # A service of its own: its Redis, registry and artifacts move to other servers, and a second worker joins.
    with Stack(tmp_path / "first") as service:
        service.register_examples()
        first = service.start_worker("first")
        service.deploy("quadratic_predictor")
        first.stop()
        queued = service.submit("quadratic_predictor-v1", 2.5)
        service.server.stop()
        service.redis.stop()

        with redis_of_the_guide(service):
            database_url = postgres_cluster.create_database()
            run_block(service, service.folder, "moving-to-postgresql.md", "copy the registry", NEW_URL=database_url)
            shared = {
                "DATABASE_URL": database_url,
                "QUEUECAST_REDIS_URL": f"redis://:{PASSWORD}@127.0.0.1:{service.redis.port}/0",
                "QUEUECAST_ARTIFACTS_URL": f"s3://{BUCKET}/artifacts",
                **bucket.env,
            }
            documented = re.findall(r"^([A-Z0-9_]+)=", documented_commands(PAGE, "queuecast.env"), re.MULTILINE)
            # The others keep a developer's own credentials out of the test.
            assert set(documented) <= set(shared)
            assert {name for name in shared if not name.startswith("AWS_")} <= set(documented)
            service.env.update(shared)
            run_block(service, service.folder, PAGE, "copy the artifacts to the bucket")
            assert "3 of 3 artifacts are intact." in run_block(service, service.folder, PAGE, "check what is shared")

            service.start_server()
            service.start_worker("first")
            with second_machine(service, tmp_path / "second"):
                seen = eventually(lambda: workers_of(service), 60, message="both workers are ready")
                assert {name.partition("@")[0] for name in seen} == {"first", "second"}
                assert service.job(queued)["status"] == "succeeded"
                service.workers[-1].stop()
                outcome = service.predict("quadratic_predictor-v1", 2.5)
                assert outcome["prediction"] == pytest.approx(0.68, abs=0.01)
                assert service.job(outcome["job_id"])["outcome"]["worker"].startswith("second@")
            assert (tmp_path / "second" / "data" / "artifact-cache").is_dir()


def redis_of_the_guide(service: Stack) -> Child:
    """Start Redis with the guide's file, on the data that the embedded one has left."""
    binary = redis_binary.find()
    assert binary is not None
    [text] = re.findall(r"```text\n(# redis\.conf\n.*?)```", text_of(PAGE), re.DOTALL)
    for documented, here in (
        ("bind 127.0.0.1 10.0.0.5", "bind 127.0.0.1"),
        ("port 6379", f"port {service.redis.port}"),
        ("dir /srv/queuecast/data/redis", f"dir {service.redis.directory}"),
    ):
        assert documented in text
        text = text.replace(documented, here)
    (service.folder / "redis.conf").write_text(text)
    return Child(
        [str(binary.path), str(service.folder / "redis.conf")], env=service.env, log_path=service.logs / "own-redis.log"
    )


def second_machine(service: Stack, folder: Path) -> Child:
    """Start the worker of the guide in a folder of its own, with the shared variables alone."""
    folder.mkdir()
    env = {name: value for name, value in with_programs(service.env).items() if name != "QUEUECAST_DATA_DIR"}
    command = ["/bin/bash", "-e", "-c", documented_commands(PAGE, "start the worker")]
    return Child(command, env=env, log_path=service.logs / "second.log", cwd=folder)


def workers_of(service: Stack) -> list[str]:
    """Return the workers that serve the endpoint, as the guide looks at them, once there are two."""
    shown = run_block(service, service.folder, PAGE, "see both workers")
    document = json.loads(shown[shown.index('{"deployments"') :])
    [view] = document["deployments"]
    found = [each["worker"] for each in view["workers"] if each["state"] == "ready"]
    return found if len(found) > 1 else []
