"""Check digits against published vectors, and against one digit changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.checks.check_digits import (
    has_luhn_digit,
    has_mod_11_10_digit,
    has_verhoeff_digit,
    icao_digit,
    weighted_sum,
)
from tests.fuzz.budget import tried

digits = st.text("0123456789", min_size=2, max_size=20)


def test_a_sum_ends_with_the_shorter_of_the_two() -> None:
    assert weighted_sum("123", (1, 10, 100)) == 321
    assert weighted_sum("123", (1, 10)) == weighted_sum("12", (1, 10, 100)) == 21


@pytest.mark.parametrize(
    ("text", "holds"), [("79927398713", True), ("79927398710", False), ("", False), ("7a", False)]
)
def test_luhn(text: str, holds: bool) -> None:
    """The first is the example of ISO/IEC 7812-1."""
    assert has_luhn_digit(text) == holds


def test_verhoeff() -> None:
    """2363 is the example of J. Verhoeff, Error Detecting Decimal Codes (1969)."""
    assert has_verhoeff_digit("2363")
    assert [digit for digit in "0123456789" if has_verhoeff_digit(f"236{digit}")] == ["3"]


def test_mod_11_10() -> None:
    """0794 is the example of ISO 7064."""
    assert has_mod_11_10_digit("07945")
    assert [digit for digit in "0123456789" if has_mod_11_10_digit(f"0794{digit}")] == ["5"]


@pytest.mark.parametrize(("field", "digit"), [("520727", 3), ("AB2134<<<", 5), ("L898902C<", 3)])
def test_icao(field: str, digit: int) -> None:
    """The fields of ICAO 9303, parts 3 and 4."""
    assert icao_digit(field) == digit


@tried(100)
@given(digits, st.integers(0, 19), st.integers(1, 9))
def test_one_digit_that_is_changed_is_seen(text: str, at: int, by: int) -> None:
    """By the checks that see every single change."""
    at %= len(text)
    other = text[:at] + str((int(text[at]) + by) % 10) + text[at + 1 :]
    for holds in (has_luhn_digit, has_verhoeff_digit, has_mod_11_10_digit):
        assert not (holds(text) and holds(other))
