"""The position of a finding in a text, as an editor names it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.firewall.protocol.places import pointer
from pipeguard.rulebook.trial import spot, text_offset, value_ranges

keys = st.text(alphabet='ab /~"\\é', max_size=4)
documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=12,
)


def test_lines_and_columns_begin_at_one() -> None:
    text = "ab\nc"
    assert [spot(text, at) for at in range(5)] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]


def everything(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str, object]]:
    found = [(pointer(path), value)]
    if isinstance(value, dict):
        for key, item in value.items():
            found += everything(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += everything(item, (*path, index))
    return found


@given(documents, st.sampled_from([None, 2]), st.booleans())
def test_every_value_of_a_json_text_is_found(
    value: object, indent: int | None, plain: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=plain)
    wanted = dict(everything(value))
    found = value_ranges(text, wanted)
    assert found.keys() == wanted.keys()
    for at, (start, end) in found.items():
        assert json.loads(text[start:end]) == wanted[at]


def test_of_two_members_with_one_name_the_first_is_told() -> None:
    assert value_ranges('{"a": 1, "a": 2}', ["/a"]) == {"/a": (6, 7)}


@pytest.mark.parametrize("plain", [True, False])
def test_a_character_of_a_string_is_found_behind_escapes(plain: bool) -> None:
    value = 'q"\\\n\té😀z'
    text = json.dumps([value], ensure_ascii=plain)
    string = value_ranges(text, ["/0"])["/0"]
    assert text[text_offset(text, string, value.index("z"))] == "z"
    assert text_offset(text, string, len(value)) == string[1] - 1
    assert text_offset(text, string, len(value) + 9) == string[1] - 1
