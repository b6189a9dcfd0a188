"""Folded texts, and the way back from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.protocol.places import Surface
from pipeguard.unicode.folding import BLOCK, fold, fold_and_back
from tests.fuzz.rulebook import engines

letters = st.text("ab \u2019\u200b\u00e9\u0435\uff41\ufb01\U0001d400", min_size=1, max_size=60)


@given(letters, letters)
def test_what_stands_behind_a_character_is_found_again(before: str, after: str) -> None:
    for pad in ("", "a" * BLOCK, "\u200b" * BLOCK):
        data = (pad + before + "#" + after).encode()
        folded, changed, way = fold_and_back(data)
        assert (folded, changed) == fold(data)
        at = folded.index(b"#")
        start, end = way.span(at, at + 1)
        assert data[start:end] == b"#"
        assert (way.place(start), way.place(end)) == (at, at + 1)


@pytest.mark.parametrize("text", ["", "abc", "\u200b", "\uff41" * 3 * BLOCK])
def test_there_is_a_way_back_from_every_place(text: str) -> None:
    data = text.encode()
    folded, _, way = fold_and_back(data)
    for place in (0, len(folded) // 2, len(folded)):
        start, end = way.span(place, place)
        assert 0 <= start <= end <= len(data)


@pytest.mark.parametrize(
    ("alike", "plain"),
    [("\u03f2at", "cat"), ("\uabaah", "sh"), ("\u13deS", "LS"), ("\uabaes", "ls")],
)
def test_a_look_alike_is_the_letter_whatever_its_compatibility_form(alike: str, plain: str) -> None:
    assert fold(alike.encode())[0].decode() == plain


def test_what_folds_to_nothing_does_not_move_a_finding_into_another_string() -> None:
    value: JsonValue = {
        "content": "\u200b" * 3 * BLOCK,
        "url": "see \u200bhttp://１６９.254.169.254/latest/",
    }
    seen = engines().to_server.scan(value, lambda _: "call.arguments", Surface.TO_SERVER)
    folded = [match for match in seen.matches if match.view == "folded"]
    assert {match.path for match in folded} == {("url",)}
    assert not any(match.exact for match in folded)
    assert min(match.start for match in folded) >= len("see \u200b")
