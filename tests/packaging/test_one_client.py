"""The client is there once, whatever is installed together: an `except` for its errors catches them all."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests.packaging.conftest import Installed, build_client_wheel
from tests.support.service.environment import REPOSITORY

pytestmark = pytest.mark.slow

BOTH = """
import json, sys
import queuecast, queuecast.client, queuecast_client

names = queuecast_client.__all__
print(json.dumps({
    "same": all(getattr(queuecast.client, name) is getattr(queuecast_client, name) for name in names),
    "face": [queuecast.Client is queuecast_client.Client, queuecast.AsyncClient is queuecast_client.AsyncClient],
    "places": sorted(
        name for name, module in sys.modules.items() if vars(module).get("ClientError") and name.endswith(".errors")
    ),
}))
"""
TRY = """
import sys
for name in sys.argv[1:]:
    try:
        __import__(name)
    except ImportError as error:
        print(f"{name}: {error}")
"""


@pytest.fixture(scope="module")
def beside_a_clone(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An environment with queuecast-client, and with a clone as `pip install --editable` leaves it."""
    folder = tmp_path_factory.mktemp("beside-a-clone")
    made = Installed(folder / "venv", build_client_wheel(folder))
    (made.packages / "editable.pth").write_text(f"{REPOSITORY}\n")
    return made


def test_both_distributions_bring_the_same_classes(installed: Installed, tmp_path: Path) -> None:
    found = json.loads(installed.run("-c", BOTH, cwd=tmp_path))
    assert found == {"same": True, "face": [True, True], "places": ["queuecast_client.errors"]}


def test_no_file_is_in_both_wheels(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as ours, zipfile.ZipFile(build_client_wheel(tmp_path)) as of_client:
        assert set(ours.namelist()) & set(of_client.namelist()) == set()


@pytest.mark.parametrize("names", [("queuecast_client", "queuecast.client"), ("api.client", "queuecast_client")])
def test_a_clone_beside_the_installed_client_is_refused_whichever_comes_first(
    beside_a_clone: Installed, tmp_path: Path, names: tuple[str, str]
) -> None:
    said = beside_a_clone.run("-c", TRY, *names, cwd=tmp_path)
    assert said.startswith(f"{names[1]}: ")
    assert " is a second copy of " in said
    for place in (REPOSITORY / "api" / "client", beside_a_clone.packages / "queuecast_client"):
        assert f"{place}/__init__.py" in said


@pytest.mark.parametrize("name", ["api.client", "queuecast_client", "queuecast.client"])
def test_either_alone_is_taken(beside_a_clone: Installed, tmp_path: Path, name: str) -> None:
    assert beside_a_clone.run("-c", TRY, name, cwd=tmp_path) == ""


def test_a_client_of_the_applications_own_is_none_of_ours(installed: Installed, tmp_path: Path) -> None:
    own = tmp_path / "api" / "client"
    own.mkdir(parents=True)
    (own / "__init__.py").write_text("from api.client.errors import ClientError\nclass Client: pass\n")
    (own / "errors.py").write_text("class ClientError(Exception): pass\n")
    for names in (("api.client", "queuecast_client"), ("queuecast.client", "api.client")):
        assert installed.run("-c", TRY, *names, cwd=tmp_path) == ""
