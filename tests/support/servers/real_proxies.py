"""nginx and Caddy as the guide sets them up: its own files, with the ports, names and paths of a test."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Self

import httpx
import pytest

from tests.support.documentation import text_of
from tests.support.service.environment import clean_environment
from tests.support.service.ports import free_port
from tests.support.service.processes import Child
from tests.support.waiting import eventually

_PAGE = "behind-a-proxy.md"
_HOST, _CERTIFICATES = "ml.example", "/etc/ssl/ml.example"


class RealProxy:
    """A reverse proxy with TLS for `localhost` in front of an API on this machine; a context manager.

    Attributes:
        url: where clients find the service.
        plain_url: where they find the redirection.
        certificate: what clients have to trust.
    """

    name = ""

    def __init__(self, folder: Path, api_port: int) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.plain_port, self.port = free_port(), free_port()
        self.plain_url, self.url = f"http://localhost:{self.plain_port}", f"https://localhost:{self.port}"
        self.certificate = _certificate(folder)
        self._api_port = api_port
        self._process: Child | None = None

    def __enter__(self) -> Self:
        command = self._command(self._program())
        self._process = Child(command, env=clean_environment(HOME=str(self.folder)), log_path=self.folder / "log")
        eventually(self._answers, 20, interval_s=0.1, message=f"{self.name} answers")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.stop()

    def _answers(self) -> bool:
        assert self._process is not None
        if not self._process.running:
            raise RuntimeError(self._process.log())
        try:
            return httpx.get(self.plain_url).status_code == 308
        except httpx.TransportError:
            return False

    def _program(self) -> str:
        path = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin"
        found = shutil.which(self.name, path=path)
        if found is None:
            # Not every CI has a package of it: sh tests/support/servers/install_proxies.sh
            pytest.skip(f"{self.name} is not installed")
        return found

    def _documented(self, language: str, first_line: str) -> str:
        """Return the file that the guide shows, for this machine."""
        [text] = re.findall(rf"```{language}\n(# {re.escape(first_line)}\n.*?)```", text_of(_PAGE), re.DOTALL)
        assert "127.0.0.1:8000" in text
        changed = str(text).replace("127.0.0.1:8000", f"127.0.0.1:{self._api_port}")
        return changed.replace(_CERTIFICATES, str(self.folder)).replace(_HOST, "localhost")

    def _command(self, program: str) -> list[str]:
        raise NotImplementedError


class Nginx(RealProxy):
    """nginx with the guide's file in `conf.d`."""

    name = "nginx"

    def _command(self, program: str) -> list[str]:
        text = self._documented("nginx", "queuecast.conf")
        for documented, here in (
            ("listen 80;", f"listen 127.0.0.1:{self.plain_port};"),
            ("listen 443 ssl http2;", f"listen 127.0.0.1:{self.port} ssl http2;"),
            ("/var/log/nginx", str(self.folder)),
        ):
            assert documented in text
            text = text.replace(documented, here)
        (self.folder / "queuecast.conf").write_text(text)
        places = "".join(
            f"{name}_temp_path {self.folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        # Its workers write large bodies into files of this folder.
        user = "user root;\n" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(
            f"{user}daemon off;\npid {self.folder}/pid;\nerror_log stderr;\nevents {{}}\n"
            f"http {{\n{places}include {self.folder}/queuecast.conf;\n}}\n"
        )
        return [program, "-p", str(self.folder), "-e", "stderr", "-c", str(self.folder / "nginx.conf")]


class Caddy(RealProxy):
    """Caddy with the guide's Caddyfile."""

    name = "caddy"

    def _command(self, program: str) -> list[str]:
        options = f"http_port {self.plain_port}\nhttps_port {self.port}\nadmin off\nskip_install_trust\n"
        (self.folder / "Caddyfile").write_text(f"{{\n{options}}}\n{self._documented('caddy', 'Caddyfile')}")
        return [program, "run", "--config", str(self.folder / "Caddyfile"), "--adapter", "caddyfile"]


def _certificate(folder: Path) -> Path:
    (folder / "names").write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
    for arguments in (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt",
        "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout privkey.pem -out localhost.csr",
        "x509 -req -in localhost.csr -CA ca.crt -CAkey ca.key -days 2 -extfile names -out fullchain.pem",
    ):
        subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True, timeout=60)
    return folder / "ca.crt"
