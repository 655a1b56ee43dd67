from __future__ import annotations

import pickle
from collections.abc import Iterator

from registry.errors import InputInvalid, RegistryError


def kinds(root: type[RegistryError]) -> Iterator[type[RegistryError]]:
    yield root
    for each in root.__subclasses__():
        yield from kinds(each)


def test_every_error_has_a_code_of_its_own() -> None:
    found = list(kinds(RegistryError))
    assert len({each.code for each in found}) == len(found) > 15


def test_a_wrong_input_is_the_same_in_another_process() -> None:
    error = InputInvalid("input[1]", "a finite number", "NaN")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), vars(again), str(again)) == (InputInvalid, vars(error), str(error))
