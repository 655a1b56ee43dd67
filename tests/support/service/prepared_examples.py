"""The example models, fitted and tried once for all processes of a test run; each service gets copies."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from registry import examples, versions
from registry.artifacts.store import ArtifactStore
from registry.database import Database
from tests.support.service.environment import REPOSITORY, clean_environment


def register(folder: Path, env: Mapping[str, str]) -> None:
    """Add each example to the registry of a service, as `python -m registry.examples` does.

    Args:
        folder: all processes of the run share it.
        env: the service's environment, with a registry below its data folder.
    """
    prepared = _prepared(folder)
    source, target = _database(prepared), _database(Path(env["QUEUECAST_DATA_DIR"]))
    from_store, to_store = _store(prepared), _store(Path(env["QUEUECAST_DATA_DIR"]))
    try:
        with source.session() as read, target.session() as written:
            for name in examples.NAMES:
                found = versions.get_version(read, name, "1")
                versions.add_version(
                    written,
                    to_store,
                    name,
                    from_store.get(found.artifact_sha256),
                    runtime=found.runtime,
                    runtime_options=found.runtime_options,
                    signature=found.signature,
                    input_example=found.input_example,
                    metadata=found.metadata,
                )
            written.commit()
    finally:
        source.close()
        target.close()


def _prepared(folder: Path) -> Path:
    """Return the data folder of a registry with the examples, which the first process makes."""
    data, done = folder / "examples", folder / "examples.done"
    with (folder / "examples.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            env = clean_environment(QUEUECAST_DATA_DIR=str(data))
            for module in ("registry.migrate", "registry.examples"):
                subprocess.run([sys.executable, "-m", module], env=env, cwd=REPOSITORY, check=True, timeout=110)
            done.touch()
    return data


def _database(data: Path) -> Database:
    return Database(f"sqlite:///{data}/registry.db")


def _store(data: Path) -> ArtifactStore:
    return ArtifactStore(str(data / "artifacts"))
