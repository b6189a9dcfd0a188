"""What two texts share."""

from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.flows import overlap
from tests.fuzz.budget import tried

LONG = "kX82mQz71LpT04vBnR3w"


def test_most_of_a_value_in_pieces_is_enough() -> None:
    bare = overlap.squeeze(LONG)
    assert overlap.in_pieces(bare, f"x{bare[:9]} and then {bare[9:]}")
    assert not overlap.in_pieces(bare, bare[:9])
    assert not overlap.in_pieces(bare[:12], bare)


def test_what_two_texts_share_is_counted_in_passages() -> None:
    source = overlap.letters("The well runs dry in August, and nobody may hear of it.")
    assert overlap.find_shared("wellrunsdryinaugust", source, "") == (19, 19)
    said = f"x{source[4:20]}y{source[24:40]}z"
    assert overlap.find_shared(said, source, "") == (32, 16)
    assert overlap.find_shared(said, source, source[:22]) == (16, 16)
    assert overlap.find_shared(source[4:12], source, "") == (0, 0)


@tried(200)
@given(st.text(max_size=200), st.text(max_size=200))
def test_no_more_is_shared_than_is_said(said: str, source: str) -> None:
    chars, longest = overlap.find_shared(said, source, "")
    assert 0 <= longest <= chars <= max(len(said), overlap.ENOUGH_CHARS)
    assert overlap.find_shared(said, said, "").chars in {
        0,
        *range(min(len(said), 1), len(said) + 1),
    }
