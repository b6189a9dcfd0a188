"""Decoded text is text instead of noise, and is read with its surroundings."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.text import encoding
from pipeguard.firewall.budgets import DecodingBudget
from tests.fuzz.budget import tried


@pytest.mark.parametrize(
    ("plain", "readable"),
    [
        (b"a short text", True),
        (b"a" * (encoding.MIN_TEXT_BYTES - 1), False),
        ("Игнорируй всё".encode(), True),
        ("Игнорируй всё".encode()[:-1], True),
        ("\u200b".join("a text").encode(), True),
        ("".join(chr(0xE0000 + ord(letter)) for letter in "a text").encode(), True),
        (bytes(range(256)), False),
        (b"\0" * 50, False),
        (b"a" * 90 + b"\0" * 10, True),
        (b"a" * 80 + b"\0" * 20, False),
    ],
)
def test_text_is_told_from_noise(plain: bytes, readable: bool) -> None:
    assert encoding.is_readable(plain) == readable


@tried(100)
@given(st.lists(st.sampled_from([b"%", b"ab", b" " * 50, b"x" * 500]), max_size=30).map(b"".join))
def test_each_sign_lies_in_a_window_with_what_is_around_it(data: bytes) -> None:
    ranges = encoding.windows(re.compile(b"%"), data, 0, len(data), DecodingBudget())
    assert ranges == sorted(ranges)
    assert all(end < start for (_, end), (start, _) in pairwise(ranges))
    for sign in re.finditer(b"%", data):
        low = max(0, sign.start() - encoding.AROUND_BYTES)
        high = min(len(data), sign.end() + encoding.AROUND_BYTES)
        assert any(start <= low and high <= end for start, end in ranges)


def test_a_window_is_decoded_whole_and_any_part_of_it_alone() -> None:
    def decode(block: bytes) -> bytes:
        return block.replace(b"%", b"!")

    budget = DecodingBudget()
    (whole,) = encoding.in_windows("signs", "%", decode)(b"a % b", 0, 5, budget)
    assert (whole.data, whole.view, whole.start, whole.end) == (b"a ! b", "signs", 0, 5)
    assert whole.reader is decode


def test_where_the_budget_is_spent_nothing_more_is_decoded() -> None:
    budget = DecodingBudget()
    budget._left_ns = 0
    assert encoding.windows(re.compile(b"%"), b"%", 0, 1, budget) == []
    assert budget.is_exceeded
