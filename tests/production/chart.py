"""The Helm chart of docs/kubernetes, rendered by Helm's own engine."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from typing import Any

import helm_python
import yaml

from tests.support.service.environment import REPOSITORY

CHART = REPOSITORY / "docs" / "kubernetes" / "queuecast"
RELEASE = "queuecast"
NAMESPACE = "models"
#: What a chart can contain, switched on.
EVERYTHING: Mapping[str, Any] = {"keda": {"enabled": True}, "web": {"ingress": {"enabled": True, "tlsSecret": "tls"}}}

Document = dict[str, Any]


@cache
def _chart() -> helm_python.Chart:
    return helm_python.Chart.load(CHART)


def values() -> Document:
    """Return what `helm show values` shows."""
    found: Document = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return found


def rendered(changes: Mapping[str, Any] = EVERYTHING) -> list[Document]:
    """Return the documents that `helm template` prints with these values in the place of the chart's own."""
    pages = _chart().render(copy.deepcopy(dict(changes)), name=RELEASE, namespace=NAMESPACE)
    return [
        document
        for path, text in sorted(pages.items())
        if path.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]


def one(kind: str, name: str, changes: Mapping[str, Any] = EVERYTHING) -> Document:
    """Return the document of this kind and name."""
    [found] = [each for each in rendered(changes) if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def pods(documents: list[Document]) -> dict[str, Document]:
    """Return the pod of each Deployment and Job, by the name of its container."""
    found = [each["spec"]["template"]["spec"] for each in documents if each["kind"] in ("Deployment", "Job")]
    return {each["containers"][0]["name"]: each for each in found}
