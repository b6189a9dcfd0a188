"""Numbers of people: well-formed ones, and those with a digit changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.checks.personal_numbers import (
    NATIONAL_IDS,
    NUMBERS,
    could_be,
    is_number,
    is_published_number,
    is_telling,
)
from pipeguard.detect.words import published
from pipeguard.rulebook.samples import expand
from tests.each import each
from tests.fuzz.budget import tried

# Kinds without a check digit: any other digit may be as good.
WITHOUT_CHECK = {"iban", "in-pan", "uk-nino", "us-ssn", "us-itin", "dk-cpr", "kr-rrn"}
UNMADE = {"iban", "passport-mrz"}  # by rules of their own: `{iban DE}`


def sample(kind: str) -> str:
    return expand({"gen": f"{{number {kind}}}"}, 3).replace("-", "")


@each("kind", sorted(NUMBERS.keys() - UNMADE))
def test_a_number_of_each_kind_is_well_formed(kind: str) -> None:
    number = sample(kind)
    assert could_be(kind, number)
    assert is_number(kind, " ".join(number).lower().encode())


@each("kind", sorted(NUMBERS.keys() - UNMADE - WITHOUT_CHECK))
def test_most_wrong_last_characters_are_seen(kind: str) -> None:
    number = sample(kind)
    letters = "0123456789" if number[-1].isdigit() else "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    others = [number[:-1] + letter for letter in letters if letter != number[-1]]
    assert sum(could_be(kind, other) for other in others) <= len(others) // 4


def test_what_documentation_prints_is_nobody_s() -> None:
    assert all(is_published_number(number.encode()) for number in published.NUMBERS)
    assert is_published_number(b"4111 1111-1111.1111")
    assert not is_published_number(b"4111111111111112")


def test_a_number_that_is_known_by_its_form() -> None:
    assert is_telling(b"RSSMRA85T10A562S")
    assert not is_telling(b"RSSMRA85T10A562T")


def test_a_passport_has_three_checks() -> None:
    line = "L898902C36UTO7408122F1204159ZE184226B<<<<<10"  # ICAO 9303, part 4, appendix B
    assert could_be("passport-mrz", line)
    assert not could_be("passport-mrz", line.replace("7408122", "7408123"))


@each("kind", list(NATIONAL_IDS))
@tried(30)
@given(st.text(max_size=30))
def test_any_text_has_an_answer(kind: str, text: str) -> None:
    assert could_be(kind, text) in (True, False)


@pytest.mark.parametrize("kind", ["card", "de-tax-id"])
def test_one_digit_over_and_over_is_no_number(kind: str) -> None:
    assert not could_be(kind, "0" * 16)
