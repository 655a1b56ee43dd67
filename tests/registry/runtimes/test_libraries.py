"""The libraries that a model was made with, compared with those that are here."""

from __future__ import annotations

from typing import Any

import pytest

from registry import runtimes
from registry.runtimes.models import libraries

MADE_WITH = {"python": "3.11.7", "scikit-learn": "1.5.2", "numpy": "2.4.1"}


@pytest.mark.parametrize(
    ("here", "named"),
    [
        (MADE_WITH, []),
        ({**MADE_WITH, "scikit-learn": "1.9.0"}, ["scikit-learn 1.5.2, and the workers have 1.9.0"]),
        ({**MADE_WITH, "python": "3.12.1"}, ["Python 3.11.7, and the workers have 3.12.1"]),
        ({**MADE_WITH, "python": "3.11.9", "numpy": "2.4.7"}, []),
        ({"python": "3.11.7"}, []),
        ({}, []),
    ],
    ids=["the same", "another release", "another Python", "corrections", "not installed", "unknown"],
)
def test_a_library_of_another_release_is_named_with_both_versions(here: dict[str, str], named: list[str]) -> None:
    found = libraries.differences(MADE_WITH, here)
    assert len(found) == len(named)
    assert all(text in sentence for text, sentence in zip(named, found, strict=True))


@pytest.mark.parametrize("built_with", [None, "1.5", ["python"], {"python": 3.11}, {"python": None}])
def test_metadata_that_hold_anything_else_under_this_name_are_no_versions(built_with: Any) -> None:
    assert libraries.recorded({"built_with": built_with}) == {}
    assert libraries.recorded({}) == {}


def test_a_model_that_is_made_here_differs_in_nothing() -> None:
    here = runtimes.libraries_here()
    assert here.keys() >= {"python", "scikit-learn", "numpy", "joblib", "cloudpickle"}
    assert libraries.differences(libraries.installed(["scikit-learn", "numpy"]), here) == []
