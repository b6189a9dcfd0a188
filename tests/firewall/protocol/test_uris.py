"""URIs that are equivalent, and expansions of a template."""

from itertools import chain
from pathlib import Path

import pytest
import yaml

from pipeguard.firewall.protocol.uris import MOST_CHARS, covers, hides, normal

CASES: dict[str, list[list[str]]] = yaml.safe_load(
    Path(__file__).with_name("uris.yaml").read_bytes()
)
TOO_LONG = [
    ["x://{a}" * 65, "x://1"],
    ["x://{a}" + "b" * 2048, "x://1" + "b" * 2048],
    ["x://{a}", "x://" + "a" * MOST_CHARS],
    ["notes://{id}", "notes://%" + "25" * 9 + "41"],
]


def test_spellings_of_one_address_have_one_form_and_others_stay_apart() -> None:
    assert [pair for pair in CASES["same"] if normal(pair[0]) != normal(pair[1])] == []
    assert [pair for pair in CASES["apart"] if normal(pair[0]) == normal(pair[1])] == []


@pytest.mark.parametrize(
    "uri",
    ["", "%", "%zz", "a b", "\\", "//", ":", "?", "#", "../..", "/..", "%80%", "\U0001f600/."],
)
def test_anything_has_a_form_and_that_is_its_own(uri: str) -> None:
    assert normal(normal(uri)) == normal(uri)


def test_what_nobody_sees_in_an_address_is_known() -> None:
    assert not any(map(hides, ("file:///a", "file:///%61%20b%2F\u00e9%00")))
    assert all(map(hides, ("file:///a\u200b", "file:///a%E2%80%8B", "file:///a\u0000")))


def test_a_template_covers_what_it_expands_to_and_nothing_else() -> None:
    assert [pair for pair in CASES["covered"] if not covers(*pair)] == []
    assert [pair for pair in chain(CASES["not covered"], TOO_LONG) if covers(*pair)] == []


def test_many_variables_side_by_side_are_read_in_one_pass() -> None:
    """A regular expression would try every way to share the letters among them."""
    assert not covers("x://" + "{a}{b},{+c}" * 21 + "!", "x://" + "a," * 4000)
    assert covers("x://" + "{a}{b},{+c}" * 21 + "!", "x://" + "a," * 4000 + "!")
