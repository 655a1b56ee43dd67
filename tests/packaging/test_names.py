"""How the source of a module names the others where the package is installed."""

from __future__ import annotations

import ast
import zipfile
from pathlib import Path

import pytest

from distributions.checking import WheelWrong, refuse_wrong
from distributions.names import rewritten

MODULES = {"api", "api.client", "api.serve", "workers", "workers.jobs", "workers.tasks", "registry", "registry.errors"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from workers.tasks import predict", "from queuecast.workers.tasks import predict"),
        ("from registry import errors, intent", "from queuecast.registry import errors, intent"),
        ("def f():\n    from api import serve  # late", "def f():\n    from queuecast.api import serve  # late"),
        ("from workers.jobs import (\n    a,\n    b,\n)", "from queuecast.workers.jobs import (\n    a,\n    b,\n)"),
        ("import registry.errors as found", "from queuecast.registry import errors as found"),
        ("import api as ours, os", "from queuecast import api as ours; import os"),
        ("import workers", "from queuecast import workers"),
        ("import registry.errors\nregistry.errors.x",
         "import queuecast.registry.errors; from queuecast import registry\nregistry.errors.x"),
        ("if é: import api.serve", "if é: import queuecast.api.serve; from queuecast import api"),
        ("from api.client import Client", "from queuecast_client import Client"),
        ("from api.client.jobs import Job", "from queuecast_client.jobs import Job"),
        ("import api.client as ours", "import queuecast_client as ours"),
        ("places = 'api.client', 'api.client.jobs:Job'", "places = 'queuecast_client', 'queuecast_client.jobs:Job'"),
        ("x = 'é', 'workers.tasks:predict'", "x = 'é', 'queuecast.workers.tasks:predict'"),
        ('"""As `workers.tasks.predict` does.\n\nfrom registry.errors import X\n"""',
         '"""As `queuecast.workers.tasks.predict` does.\n\nfrom queuecast.registry.errors import X\n"""'),
        ('run("import sys; from registry import errors; …")',
         'run("import sys; from queuecast.registry import errors; …")'),
        ('run("python -m api.serve", r"--app=workers.tasks")',
         'run("python -m queuecast.api.serve", r"--app=queuecast.workers.tasks")'),
        ('f"api.serve.{name}: {api.serve.x}"', 'f"queuecast.api.serve.{name}: {api.serve.x}"'),
        ("logging.getLogger('api.access')", "logging.getLogger('queuecast.api.access')"),
    ],
)  # fmt: skip
def test_a_name_of_a_module_is_rewritten(before: str, after: str) -> None:
    assert rewritten(before, MODULES) == after
    ast.parse(after)


@pytest.mark.parametrize(
    "source",
    [
        "from . import tasks",
        "from apis import x; import registry_of_others, workersx.y",
        "import os.path as registry",
        "path = 'registry.db', 'workers/jobs', 'my.workers.jobs', 'docs/api.client'",  # files, paths, others' modules
        "names = {'api', 'workers'}; workers.jobs.x = registry.errors",  # words, and variables
        'f"{workers.jobs} {{workers}} {x!r:>{registry.errors}}"',
        "EARLIER = 'workers.jobs'  # a stored name",
        "raise KeyError from api",
        "# from workers.tasks import predict",
    ],
)
def test_everything_else_stays_as_it_is(source: str) -> None:
    assert rewritten(source, MODULES) == source


def test_a_wheel_that_would_take_other_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "queuecast-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("queuecast/__init__.py", "def late():\n    import workers.app")
        wheel.writestr("api/__init__.py", "")
        wheel.writestr("queuecast-1.dist-info/top_level.txt", "api\nqueuecast\n")
    with pytest.raises(WheelWrong) as refused:
        refuse_wrong(path)
    for problem in ("has api at its top", "__init__.py imports workers.app", "lacks queuecast/Procfile", "top_level"):
        assert problem in str(refused.value)
