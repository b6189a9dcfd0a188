"""Folded texts, and the way back from them."""

from hypothesis import given
from hypothesis import strategies as st

from pipeguard.core.folding import BLOCK, Unfolding, fold
from pipeguard.core.message import JsonValue
from pipeguard.core.places import Surface
from pipeguard.state.compiled import engines

letters = st.text("ab \u200b\u00e9\u0435\uff41\ufb01\U0001d400", min_size=1, max_size=60)


@given(letters, letters)
def test_what_stands_behind_a_character_is_found_again(before: str, after: str) -> None:
    for pad in ("", "a" * BLOCK, "\u200b" * BLOCK):
        data = (pad + before + "#" + after).encode()
        start, end = Unfolding(data).span(fold(data)[0].index(b"#"), fold(data)[0].index(b"#") + 1)
        assert data[start:end] == b"#"


def test_an_empty_text_has_a_way_back() -> None:
    assert Unfolding(b"").span(0, 0)[0] == 0


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
