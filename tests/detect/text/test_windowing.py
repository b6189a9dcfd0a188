"""Blocks cover the whole text, and overlap by the longest match."""

from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.text.windowing import BLOCK_BYTES, OVERLAP_BYTES, blocks
from tests.fuzz.budget import tried

lengths = st.integers(0, 5 * BLOCK_BYTES)


def test_a_text_of_little_more_than_a_block_is_one() -> None:
    assert list(blocks(BLOCK_BYTES + OVERLAP_BYTES)) == [(0, BLOCK_BYTES + OVERLAP_BYTES)]
    assert len(list(blocks(BLOCK_BYTES + OVERLAP_BYTES + 1))) == 2


@tried(200)
@given(lengths, lengths)
def test_every_match_up_to_the_overlap_lies_in_one_block(length: int, at: int) -> None:
    start = min(at, length)
    end = min(length, start + OVERLAP_BYTES)
    assert any(low <= start and end <= high for low, high in blocks(length))


@tried(200)
@given(lengths, lengths, lengths)
def test_a_range_is_looked_through_with_what_stands_around_it(
    length: int, first: int, other: int
) -> None:
    low, high = sorted((min(first, length), min(other, length)))
    ranges = list(blocks(length, [(low, high)]))
    assert min(start for start, _ in ranges) == max(0, low - OVERLAP_BYTES) if ranges else low == 0
    assert all(0 <= start < end <= length for start, end in ranges if length)
    assert sum(end - start for start, end in ranges) <= (high - low + 2 * OVERLAP_BYTES) * 2


def test_no_range_is_nothing_to_look_through() -> None:
    assert list(blocks(100, [])) == []
