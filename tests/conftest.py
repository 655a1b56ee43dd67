"""Fixtures that every package's tests use: own servers on free loopback ports, own data, own settings."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import redis
from sqlalchemy import create_engine

from tests.support import slower_tests
from tests.support.servers import postgres
from tests.support.service import stack as stack_module
from tests.support.service.environment import forget_cached_settings, ours
from tests.support.service.ports import free_port
from tests.support.service.shared_stack import FAILED
from tests.support.service.stack import Stack
from workers.app import app
from workers.embedded_redis.server import EmbeddedRedis
from workers.measures import paces
from workers.settings import load

# A busy machine is no reason to fail. The library makes a hundred examples; half of them, as there are many such tests.
hypothesis.settings.register_profile("queuecast", deadline=None, max_examples=50)
hypothesis.settings.load_profile("queuecast")

#: Modules about scripts, leases, notifications and full memory.
ASK_THE_SERVER = {
    *(
        "test_leases",
        "test_redis",
        "test_batch_transitions",
        "test_sweeper",
        "test_claiming",
        "test_listener",
        "test_turns",
    ),
    *("test_accept", "test_bulk", "test_dead_letters", "test_transitions", "test_outbox", "test_backfill"),
    *("test_moving", "test_positions", "test_reports", "test_redis_client", "test_reconciler", "test_embedded_redis"),
}
#: Folders whose files take longest, and within them the longest files: several processes begin with these, so that none
#: is left with a long one at the end. Files of a folder stay together, for they share a service.
LONG_FOLDERS = ("faults", "service", "processes", "packaging", "upgrade", "bench", "operations")
LONG_FILES = (
    *("test_workers", "test_shares", "test_redis", "test_hosts", "test_registry", "test_network", "test_api"),
    *("test_secured", "test_predictions", "test_mlflow", "test_webhooks", "test_delayed", "test_worker_restarts"),
    *("test_command_line", "test_client", "test_watching"),
)


#: What `make test-long` runs and `make test` doesn't: the commands of the guides, a whole production set-up, faults of
#: RabbitMQ, models that MLflow itself writes, and the bench.
LONG = (
    *("tests/everyday/", "tests/production/test_main_path.py", "tests/bench/test_running.py"),
    *("tests/service/clients/test_mlflow.py", "tests/service/canvas/test_lost_workers.py"),
    "tests/rabbitmq/test_faults.py",
    *("tests/rabbitmq/submits/test_delayed.py", "tests/rabbitmq/submits/test_canvas.py"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of `make slower-tests`."""
    parser.addoption("--write-slower", action="store_true", help="write tests/slower_tests.txt from this run")


def pytest_configure(config: pytest.Config) -> None:
    """Measure if that is asked for, in the process that hears of all tests."""
    if config.getoption("write_slower") and "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(slower_tests.Measuring())


def pytest_sessionstart() -> None:
    """Look for no garbage while thousands of tests are collected: all of it stays."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage again, but not among what was collected: there it takes longer than many a test."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what speaks with Redis directly: `make test-servers` tries it with others. Begin with what is long."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=_rank)
    slower = slower_tests.listed()
    for item in items:
        if slower_tests.name_of(item.nodeid) in slower:
            item.add_marker(pytest.mark.slower)
        if item.nodeid.startswith(LONG) and not ("how_do_i" in item.nodeid and "service" not in _fixtures(item)):
            item.add_marker(pytest.mark.long)
        if "redis_server" in _fixtures(item) and item.path.stem in ASK_THE_SERVER:
            item.add_marker(pytest.mark.servers)


class SharedStatements(dict[Any, Any]):
    """Compiled statements of all SQLite engines of a process, whose dialects are alike."""

    def get(self, key: tuple[Any, ...], default: Any = None) -> Any:
        return super().get((type(key[0]), *key[1:]), default)

    def __setitem__(self, key: tuple[Any, ...], value: Any) -> None:
        super().__setitem__((type(key[0]), *key[1:]), value)


def _fixtures(item: pytest.Item) -> Sequence[str]:
    return getattr(item, "fixturenames", ())


def _rank(item: pytest.Item) -> tuple[int, int]:
    folder, file = item.nodeid.split("/")[1], item.path.stem
    if folder not in LONG_FOLDERS:
        return len(LONG_FOLDERS), 0
    return LONG_FOLDERS.index(folder), LONG_FILES.index(file) if file in LONG_FILES else len(LONG_FILES)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine on an event loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    fixtures = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    asyncio.run(pyfuncitem.obj(**fixtures))
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the services of a failed test have logged."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    stacks = [each for each in getattr(item, "funcargs", {}).values() if isinstance(each, Stack)]
    for stack in stacks if report.failed else ():
        report.sections.append(("logs", stack.last_logs()))
    return report


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Nothing in this process can reach a service or data that isn't a test's own."""
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in filter(ours, list(os.environ)):
            patch.delenv(name)
        patch.setenv("QUEUECAST_REDIS_URL", f"redis://127.0.0.1:{port}/0")
        patch.setenv("QUEUECAST_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        forget_cached_settings()
        # The Celery app keeps what it reads first: not what a test sets for itself alone.
        assert app.conf.broker_url == load().queue_url
        yield port
    forget_cached_settings()


@pytest.fixture(scope="session", autouse=True)
def _shared_statements() -> Iterator[None]:
    """SQLAlchemy compiles a statement once for each engine, and each test has an engine of its own: share them."""
    compiled = SharedStatements()
    with pytest.MonkeyPatch.context() as patch:
        shared = partial(create_engine, execution_options={"compiled_cache": compiled})
        patch.setattr("registry.database.sqlite.create_engine", shared)
        yield


@pytest.fixture(scope="session")
def redis_server(_own_environment: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """One Redis for all tests, at the URL that this process's settings name."""
    with EmbeddedRedis(_own_environment, tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def _run_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The folder that the processes of this run share: with several, each has a folder of its own within it."""
    own = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stack_module, "RUN_FOLDER", own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)
        yield


@pytest.fixture(scope="session")
def _emptying_client(redis_server: EmbeddedRedis) -> Iterator[redis.Redis]:
    """One for all tests: to connect takes ten times as long as to empty."""
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis, _emptying_client: redis.Redis) -> str:
    """The URL of that Redis, empty now."""
    _emptying_client.flushall()
    paces.default_paces.cache_clear()
    return redis_server.url


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder of the test's own, also for code that reads this process's settings."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("QUEUECAST_DATA_DIR", str(folder))
    forget_cached_settings()
    yield folder
    monkeypatch.undo()
    forget_cached_settings()


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[postgres.PostgresCluster]:
    """One PostgreSQL cluster for all tests; missing binaries skip on a laptop and fail in CI."""
    programs = postgres.binaries()
    if programs is None:
        message = "PostgreSQL's initdb and postgres are not installed (Debian: apt-get install postgresql)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    cluster = postgres.PostgresCluster(programs)
    try:
        yield cluster.start()
    finally:
        cluster.stop()


@pytest.fixture
def postgres_url(postgres_cluster: postgres.PostgresCluster) -> Iterator[str]:
    """The URL of an empty PostgreSQL database; mark the test with `@pytest.mark.postgres`."""
    url = postgres_cluster.create_database()
    yield url
    postgres_cluster.drop_database(url)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/registry.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A whole service without workers; its logs are shown if the test fails."""
    with Stack(tmp_path / "stack") as running:
        yield running
