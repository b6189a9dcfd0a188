"""Keys whose values may be private are recognised, and so is a name next to its value."""

import pytest

from pipeguard.detect.text.layouts import LONGEST_KEY, LONGEST_NAMED, is_sensitive, sensitive_label
from pipeguard.firewall.protocol.json_values import JsonObject


@pytest.mark.parametrize(
    "key", ["api_key", "dbPassword", "IBAN", "passport_no", "身份证", "rodné číslo"]
)
def test_a_key_that_names_something_private_is_sensitive(key: str) -> None:
    assert is_sensitive(key)


@pytest.mark.parametrize("key", ["", "colour", "title", "x" * LONGEST_KEY + "password"])
def test_another_key_or_a_whole_text_is_not(key: str) -> None:
    assert not is_sensitive(key)


@pytest.mark.parametrize("beside", ["name", "key", "label", "variable"])
def test_a_value_is_labelled_by_a_name_beside_it(beside: str) -> None:
    assert sensitive_label({beside: "API_KEY", "value": "abc"}) == "API_KEY"
    assert sensitive_label({beside: "COLOUR", "value": "red"}) == ""


@pytest.mark.parametrize(
    "value",
    [
        {"name": "API_KEY"},
        {"name": "API_KEY", "value": None},
        {"name": "API_KEY", "value": "x" * (LONGEST_NAMED + 1)},
        {"name": ["API_KEY"], "value": "abc"},
    ],
)
def test_without_a_short_string_as_value_or_a_name_there_is_no_label(value: JsonObject) -> None:
    assert sensitive_label(value) == ""
