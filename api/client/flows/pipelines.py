"""Pipelines: the first endpoint gets the input, each further one the prediction of the one before it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from api.client.errors import SettingsWrong
from api.client.flows.prediction import Wanted
from api.client.options import SubmitOptions


def wanted(endpoint_names: Iterable[str], row: Any, inputs: Any, options: SubmitOptions) -> Wanted:
    """Return the submit of a pipeline. Raises SettingsWrong."""
    if isinstance(endpoint_names, str):
        raise SettingsWrong('Give a list of endpoint names, such as ["embed", "classify"].')
    names = list(endpoint_names)
    if not names:
        raise SettingsWrong("A pipeline needs at least one endpoint name.")
    further: SubmitOptions = {"then": names[1:]} if len(names) > 1 else {}
    return Wanted(names[0], row, inputs, {**options, **further})
