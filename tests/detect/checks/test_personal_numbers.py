"""Numbers of people: well-formed ones, and ones with a changed digit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.checks.personal_numbers import (
    NATIONAL_IDS,
    NUMBERS,
    could_be,
    has_luhn_digit,
    has_mod_11_10_digit,
    has_verhoeff_digit,
    icao_digit,
    is_number,
    is_published_number,
    is_telling,
    weighted_sum,
)
from pipeguard.detect.words import published
from pipeguard.rulebook.samples import expand
from tests.detect.cases import read_cases
from tests.each import each
from tests.fuzz.budget import tried

CASES = read_cases(__file__)

# Kinds without a check digit: any other digit may be as good.
WITHOUT_CHECK = {"iban", "in-pan", "uk-nino", "us-ssn", "us-itin", "dk-cpr", "kr-rrn"}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
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
    letters = "0123456789" if number[-1].isdigit() else LETTERS
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


# Printed by the issuers, or in the articles that explain their check digits.
PUBLISHED = {
    "us-ssn": "078051120",
    "us-itin": "987654321",
    "us-routing": "021000021",
    "us-npi": "1234567893",
    "uk-nhs": "9434765919",
    "ca-sin": "046454286",
    "fr-nir": "255081416802538",
    "de-tax-id": "36574261809",
    "es-dni": "12345678Z",
    "es-nie": "X1234567L",
    "it-codice-fiscale": "RSSMRA85T10A562S",
    "nl-bsn": "111222333",
    "pt-nif": "123456789",
    "pl-pesel": "44051401359",
    "fi-hetu": "131052308T",
    "ie-pps": "1234567T",
    "br-cpf": "52998224725",
    "cl-rut": "123456785",
    "cn-resident": "11010519491231002X",
    "sg-nric": "S1234567D",
    "tr-identity": "10000000146",
}


@pytest.mark.parametrize("kind", PUBLISHED)
def test_a_published_number_is_well_formed(kind: str) -> None:
    number = PUBLISHED[kind]
    others = ("0123456789" if number[-1].isdigit() else LETTERS).replace(number[-1], "")
    accepted = [last for last in others if NATIONAL_IDS[kind](number[:-1] + last)]
    assert NATIONAL_IDS[kind](number)
    assert accepted == [] or kind in WITHOUT_CHECK


@each("kind, number", CASES["a_number_that_nobody_is_given_is_none"])
def test_a_number_that_nobody_is_given_is_none(kind: str, number: str) -> None:
    assert not NATIONAL_IDS[kind](number)


DIGITS = st.text("0123456789", min_size=2, max_size=20)


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
@given(DIGITS, st.integers(0, 19), st.integers(1, 9))
def test_one_digit_that_is_changed_is_seen(text: str, at: int, by: int) -> None:
    """The checks that detect every single change."""
    at %= len(text)
    other = text[:at] + str((int(text[at]) + by) % 10) + text[at + 1 :]
    for holds in (has_luhn_digit, has_verhoeff_digit, has_mod_11_10_digit):
        assert not (holds(text) and holds(other))
