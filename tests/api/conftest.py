"""The app in this process: SQLite and an empty Redis of each test's own, and no worker but a stand-in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from api.app import create_app
from api.console import rates
from api.http.flask_app import telemetry
from api.process import services
from api.settings import ApiSettings
from registry import deployments, migrate, versions
from registry.artifacts.store import ArtifactStore
from registry.database import Database, default_database
from registry.settings import load as registry_settings
from registry.versions import ModelVersion
from tests.api.described_client import DescribedClient
from tests.api.stand_in_worker import StandInWorker
from tests.support.edge import EdgeFirst

View = dict[str, Any]
#: Small limits, so that what is over them is small too.
MAX_BYTES = 64 * 1024


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file at the newest revision; tests copy it."""
    path = tmp_path_factory.mktemp("migrated") / "registry.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def serving_file(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with version 1 of the model "adder" deployed as "adding"."""
    folder = tmp_path_factory.mktemp("serving")
    database = Database(f"sqlite:///{shutil.copy(migrated_file, folder / 'registry.db')}")
    with database.session() as session:
        register(session, ArtifactStore(str(folder / "artifacts")))
        deployments.deploy(session, "adder", endpoint_name="adding")
        session.commit()
    database.close()
    return folder / "registry.db"


def register(session: Session, store: ArtifactStore, name: str = "adder", **named: Any) -> ModelVersion:
    """Add a version whose artifact nobody loads."""
    named = {"artifact": b"model", "runtime": "python", "input_example": [1.0, 2.0], **named}
    return versions.add_version(session, store, name, **named)


@pytest.fixture
def settings() -> ApiSettings:
    return ApiSettings(max_body_bytes=MAX_BYTES, max_artifact_bytes=MAX_BYTES, deployment_cache_s=0)


#: One for all tests with the same settings: to put its routes together takes longer than most tests.
_APPS: dict[str, Flask] = {}


@pytest.fixture
def made_app(settings: ApiSettings) -> Iterator[Flask]:
    """The app with services and counters of this test's own; its routes are everybody's."""
    app = _APPS.get(settings.model_dump_json()) or create_app(settings)
    _APPS[settings.model_dump_json()] = app
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    services.install(app, services.Services(settings))
    telemetry.install_counters(app)
    rates.install(app)
    # As in production, hot operations are answered without Flask; `test_conformance.py` compares the two.
    flask = app.wsgi_app
    app.wsgi_app = EdgeFirst(app)  # type: ignore[method-assign]
    yield app
    app.wsgi_app = flask  # type: ignore[method-assign]


@pytest.fixture
def unmigrated_app(data_dir: Path, redis_url: str, made_app: Flask) -> Iterator[Flask]:
    made_app.test_client_class = DescribedClient
    yield made_app
    default_database().close()


@pytest.fixture
def app(unmigrated_app: Flask, data_dir: Path, migrated_file: Path) -> Flask:
    shutil.copy(migrated_file, data_dir / "registry.db")
    return unmigrated_app


class Client(DescribedClient):
    """The HTTP client of a test, with the steps that most tests begin with."""

    def register(self, name: str = "adder", **named: Any) -> View:
        """Add a version whose artifact nobody loads; return it."""
        with default_database().session() as session:
            added = register(session, ArtifactStore(registry_settings().artifacts_url), name, **named)
            session.commit()
        return added.document()

    def deploy(self, endpoint_name: str = "adding", model_name: str = "adder", **named: Any) -> View:
        """Deploy; return the deployment's view."""
        wanted = {"endpoint_name": endpoint_name, "model_name": model_name, **named}
        answer = self.post("/deployments/deploy", json=wanted)
        assert answer.status_code == 202, answer.text
        view: View = answer.json
        return view

    def submit(self, endpoint_name: str = "adding", **rows: Any) -> str:
        """Submit a job; return its id."""
        answer = self.post(f"/predict/{endpoint_name}", json=rows or {"input": [1, 2]})
        assert answer.status_code == 202, answer.text
        return str(answer.json["job_id"])


@pytest.fixture
def client(app: Flask) -> Client:
    app.test_client_class = Client
    client = app.test_client()
    assert isinstance(client, Client)
    return client


@pytest.fixture
def adding(app: Flask, data_dir: Path, serving_file: Path, client: Client) -> View:
    """The endpoint "adding", which serves version 1 of "adder", as the API shows it."""
    shutil.copy(serving_file, data_dir / "registry.db")
    view: View = client.get("/deployments/adding").json
    return view


@pytest.fixture
def worker(redis_url: str) -> StandInWorker:
    return StandInWorker(redis_url)
