"""Code of a training program is stored with its model, or the registration fails with the remedy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import pytest

from registry import migrate
from registry.runtimes.storage import pickling
from tests.registry import toys
from tests.support.service.environment import REPOSITORY, clean_environment

BESIDE = {
    "ratios.py": """
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

OFFSET = 1.0

def shift(rows):
    return np.asarray(rows) + OFFSET

class Ratios(TransformerMixin, BaseEstimator):
    def fit(self, rows, targets=None):
        return self

    def transform(self, rows):
        return shift(rows)
""",
    "texts/__init__.py": "from texts.inner.words import tokens",
    "texts/inner/words.py": "def tokens(text):\n    return text.split('-')\n",
    "locked.py": "import threading\nLOCK = threading.Lock()\ndef guarded(row):\n    with LOCK:\n        return row\n",
}
TRAIN = """
import locked, ratios, texts, texts.inner.words
import numpy as np
from registry.database import default_database
from registry.errors import RegistryError
from registry.registration import register
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

class Doubled(TransformerMixin, BaseEstimator):
    def fit(self, rows, targets=None):
        return self

    def transform(self, rows):
        return 2 * ratios.shift(rows)

def log(rows):
    return np.log1p(rows)

def split(row):
    return [*texts.tokens(row), ratios.OFFSET]

def lazy(row):
    import ratios as late
    return float(late.shift(row))

steps = ratios.Ratios(), Doubled(), FunctionTransformer(log), LinearRegression()
numbers = make_pipeline(*steps).fit([[1.0], [2.0], [3.0]], [1.0, 2.0, 3.0])
words = make_pipeline(CountVectorizer(tokenizer=texts.tokens, token_pattern=None), LinearRegression())
words.fit(["a-b", "b"], [1.0, 2.0])
skops = {"runtime": "skops", "runtime_options": {"trusted": ["__main__.Doubled", "__main__.log", "ratios.Ratios"]}}
with default_database().session() as session:
    for name, model, example, options in [
        ("numbers", numbers, [1.0], {}), ("words", words, "a-b", {}), ("split", split, "a-b", {}),
        ("lazy", lazy, 1.0, {}), ("locked", locked.guarded, 1.0, {}), ("skops", numbers, [1.0], skops),
    ]:
        try:
            register(session, name, model, input_example=example, **options)
            print(name, "registered")
        except RegistryError as error:
            print(name, type(error).__name__, error)
"""


@pytest.mark.long
@pytest.mark.slow
def test_code_of_the_script_and_of_modules_beside_it_goes_along_or_is_named(tmp_path: Path) -> None:
    for name, text in {**BESIDE, "train.py": TRAIN}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    env = clean_environment(QUEUECAST_DATA_DIR=str(tmp_path / "data"), PYTHONPATH=str(REPOSITORY))
    (tmp_path / "data").mkdir()
    migrate.upgrade(f"sqlite:///{tmp_path}/data/registry.db")
    ran = subprocess.run(
        [sys.executable, "train.py"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    lines = ran.stdout.splitlines()
    assert lines[:3] == ["numbers registered", "words registered", "split registered"]
    assert lines[3].startswith("lazy ModelLoadFailed The model fails on its example: ModuleNotFoundError")
    assert "stored with the model if it is imported at the top of a module" in lines[3]
    assert lines[4].startswith("locked ModelLoadFailed The model can't be loaded: ModuleNotFoundError")
    assert "storing the model's code by name instead of by value: TypeError: cannot pickle '_thread.lock'" in ran.stderr
    assert lines[5].startswith("skops ModelLoadFailed The model can't be loaded: ")
    assert "installed where workers run" in lines[5] or "Install what is missing where workers run" in lines[5]


@pytest.fixture
def unlisted() -> Iterator[None]:
    assert cloudpickle.list_registry_pickle_by_value() == set()
    yield
    assert cloudpickle.list_registry_pickle_by_value() == set()


def test_only_what_no_installation_has_goes_along(unlisted: None) -> None:
    names = {module.__name__ for module in pickling.own_modules()}
    assert "tests.registry.toys" in names
    assert not [name for name in names if name.partition(".")[0] in {"registry", "numpy", "json", "_pytest"}]


class Finder:
    """As an editable installation puts one into `sys.meta_path`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(self, name: str, _path: object) -> ModuleSpec | None:
        return spec_from_file_location(name, self.folder / name / "__init__.py") if name == "edited" else None


Finder.__module__ = "__editable___edited_0_1_finder"


def test_how_a_module_was_found_says_whether_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Path(pytest.__file__).parent
    files: dict[str, dict[str, Any]] = {
        "beside": {"__file__": str(tmp_path / "beside.py")},
        "compiled": {"__file__": str(tmp_path / "compiled.so")},
        "edited": {"__file__": str(tmp_path / "edited" / "__init__.py")},
        "edited.inner": {"__file__": str(tmp_path / "edited" / "inner.py")},
        "folder": {"__path__": [str(tmp_path / "folder")]},
        "nowhere": {},
        "shared": {"__path__": [str(tmp_path / "shared"), str(site.parent / "shared")]},
        "third_party": {"__file__": str(site / "third_party.py")},
        "workers": {"__file__": str(tmp_path / "workers.py")},
    }
    for name, attributes in files.items():
        module = ModuleType(name)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder(tmp_path)])
    own = {module.__name__ for module in pickling.own_modules()}
    assert own & files.keys() == {"beside", "folder", "workers"}


def test_a_pickle_of_own_code_needs_none_of_it(unlisted: None) -> None:
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer)(2.5), 'tests' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-P", "-c", program], input=pickling.dumps(toys.double), capture_output=True, check=True
    )
    assert ran.stdout == b"5.0 False\n"


def test_cloudpickle_is_left_as_it_was_when_a_model_can_not_be_pickled(unlisted: None) -> None:
    with pytest.raises(TypeError, match="holds a socket"):
        pickling.dumps(toys.Unpicklable())
