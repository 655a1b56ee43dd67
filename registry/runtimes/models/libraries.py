"""The versions of the libraries that a model was made with, those that are installed, and how they differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from platform import python_version
from typing import Any

#: The name under which a version's metadata has the versions that it was made with.
BUILT_WITH = "built_with"
_PYTHON = "python"
#: Libraries warn, and pickles break, between releases; corrections of a release (the third number) change no pickle.
_NUMBERS_OF_A_RELEASE = 2


def installed(libraries: Iterable[str]) -> dict[str, str]:
    """Return the version of Python and of each of these distributions that is installed."""
    found = {_PYTHON: python_version()}
    for library in libraries:
        try:
            found[library] = installed_version(library)
        except PackageNotFoundError:  # noqa: PERF203 - a few
            continue  # installed under another name, e.g. onnxruntime for GPUs
    return found


def recorded(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions that a model version's metadata has; metadata are free, so others are left out."""
    found = metadata.get(BUILT_WITH)
    if not isinstance(found, Mapping):
        return {}
    return {str(name): version for name, version in found.items() if isinstance(version, str)}


def differences(built_with: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """Return a sentence for each library whose release is another one here than when the model was registered.

    A library that isn't known here is none of them: it may be installed under another name.
    """
    pairs = ((name, version, here.get(name)) for name, version in built_with.items())
    return [_difference(name, there, now) for name, there, now in pairs if now and _release(there) != _release(now)]


def _release(version: str) -> list[str]:
    return version.split(".")[:_NUMBERS_OF_A_RELEASE]


def _difference(name: str, there: str, here: str) -> str:
    what = "Python" if name == _PYTHON else name
    return f"The model was made with {what} {there}, and the workers have {here}: its predictions may differ."
