from __future__ import annotations

import pytest

from registry import names
from registry.errors import NameInvalid


@pytest.mark.parametrize("name", ["a", "binary_classifier", "9.lives-2", "A" * 100])
def test_names_of_letters_digits_dots_dashes_and_underscores_are_allowed(name: str) -> None:
    assert names.check_model_name(name) == name


@pytest.mark.parametrize("name", ["", ".hidden", "-flag", "a/b", "a b", "ä", "a\n", "a\0", "A" * 101, "stats", 5])
def test_other_model_names_are_refused(name: str) -> None:
    with pytest.raises(NameInvalid) as caught:
        names.check_model_name(name)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("name", ["deploy", "undeploy", "stats"])
def test_an_endpoint_can_not_be_named_like_a_route(name: str) -> None:
    with pytest.raises(NameInvalid, match="reserved"):
        names.check_endpoint_name(name)


def test_every_model_name_leaves_room_for_a_version_number() -> None:
    assert names.default_endpoint_name("m" * names.MAX_MODEL_NAME_LENGTH, "1" * 18)


def test_the_newest_version_is_the_highest_number_or_else_the_last_one() -> None:
    assert names.newest(["9", "10", "2"]) == "10"
    assert names.newest(["9", "10", "spring"]) == "spring"
    assert names.newest(["spring", "2"]) == "2"
    assert names.newest(["007", "3", "2"]) == "2"
