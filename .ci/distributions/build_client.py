"""`python -m distributions.build_client FOLDER`: builds queuecast-client from `api/client`, as an sdist and a wheel.

Readers find the client at `api.client`; in the programs of others it is `queuecast_client`, since half of them have a
package `api` of their own. The sdist has the rewritten sources, so that anything which builds Python packages builds
the same wheel of it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

NAME_IN_CLONE = "api.client"
NAME_INSTALLED = "queuecast_client"
REPOSITORY = Path(__file__).resolve().parents[2]
_SOURCES = REPOSITORY / "api" / "client"
_DESCRIPTION = Path(__file__).resolve().parent / "client"
#: But in lines that say so, as in `names`.
_NAMES = re.compile(rf"\b{re.escape(NAME_IN_CLONE)}\b(?!.*# a stored name)")


def build(folder: Path) -> None:
    """Put an sdist and a wheel into a folder. Raises CalledProcessError if they can't be built."""
    with tempfile.TemporaryDirectory() as given:
        tree = Path(given) / "queuecast-client"
        write_tree(tree)
        command = [sys.executable, "-m", "uv", "build", "--quiet", "--out-dir", str(folder.absolute()), str(tree)]
        subprocess.run(command, check=True)  # noqa: S603 - our own arguments


def write_tree(tree: Path) -> None:
    """Write the sources of the distribution, with the name that they have where they are installed."""
    shutil.copytree(_DESCRIPTION, tree)
    package = tree / NAME_INSTALLED
    for source in sorted(_SOURCES.rglob("*.py")):
        target = package / source.relative_to(_SOURCES)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(renamed(source.read_text(encoding="utf-8")), encoding="utf-8")
    (package / "py.typed").touch()
    (tree / "VERSION").write_text(version() + "\n", encoding="utf-8")
    # An sdist has what the wheel's build reads.
    (tree / "MANIFEST.in").write_text("include VERSION\n", encoding="utf-8")


def renamed(text: str) -> str:
    """Return a module's text with the client's name in imports, docstrings and examples as it is installed."""
    return _NAMES.sub(NAME_INSTALLED, text)


def version() -> str:
    """Return the version of Queuecast, which is that of its client, too."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: str = project["version"]
    return found


if __name__ == "__main__":
    build(Path(sys.argv[1]))
