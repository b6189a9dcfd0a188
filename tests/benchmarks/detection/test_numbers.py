"""Numbers of people and accounts check, by formulas that are tried on published values first."""

import re
from collections.abc import Callable, Sequence

import pytest

from benchmarks.detection.european_ids import FINNISH, ODD_ITALIAN, SPANISH
from benchmarks.detection.mint import Use, formats, mint
from tests.each import each

pytestmark = pytest.mark.exhaustive  # holds the cases of the benchmark, not the program
SEEDS = [str(seed) for seed in range(12)]


def digits(text: str) -> list[int]:
    return [int(one) for one in text if one.isdigit()]


def mod(text: str, weights: Sequence[int], modulus: int) -> int:
    values = digits(text)
    assert len(values) == len(weights)
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) % modulus


def luhn(text: str) -> bool:
    doubled = "0246813579"
    values = digits(text)[::-1]
    return (sum(values[::2]) + sum(int(doubled[one]) for one in values[1::2])) % 10 == 0


def iban(text: str) -> bool:
    text = text.replace(" ", "")
    return int("".join(str(int(one, 36)) for one in text[4:] + text[:4])) % 97 == 1


def de_tax(text: str) -> bool:
    product = 10
    for digit in digits(text)[:10]:
        product = ((digit + product) % 10 or 10) * 2 % 11
    repeated = len(set(digits(text)[:10]))
    return (11 - product) % 10 == digits(text)[10] and repeated in (8, 9) and text[0] != "0"


def turned(a: int, b: int) -> int:
    """The product of two symmetries of a pentagon."""
    return (a + b) % 5 + 5 * (b > 4) if a < 5 else (a - b) % 5 + 5 * (b < 5)


def verhoeff(text: str) -> bool:
    table = [[turned(a, b) for b in range(10)] for a in range(10)]
    step, permutation, check = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4], list(range(10)), 0
    for digit in reversed(digits(text)):
        check = table[check][permutation[digit]]
        permutation = [step[one] for one in permutation]
    return check == 0


def it_cf(text: str) -> bool:
    odd = sum(ODD_ITALIAN[one] for one in text[:15:2])
    even = sum(int(one, 36) if one.isdigit() else ord(one) - 65 for one in text[1:15:2])
    return chr(65 + (odd + even) % 26) == text[15]


def fr_nir(text: str) -> bool:
    return (int(text[:13]) + int(text[13:])) % 97 == 0


def _cpf_digits(values: list[int]) -> bool:
    for length in (9, 10):
        total = sum(value * (length + 1 - place) for place, value in enumerate(values[:length]))
        if total * 10 % 11 % 10 != values[length]:
            return False
    return True


def cn_id(text: str) -> bool:
    values = [10 if one == "X" else int(one) for one in text]
    return sum(value << (17 - place) for place, value in enumerate(values)) % 11 == 1


def icao(text: str) -> int:
    values = [0 if one == "<" else int(one, 36) for one in text]
    return (7 * sum(values[::3]) + 3 * sum(values[1::3]) + sum(values[2::3])) % 10


def mrz(text: str) -> bool:
    names, line = text.split("\n")
    assert (len(names), len(line)) == (44, 44)
    fields = ((line[:9], line[9]), (line[13:19], line[19]), (line[21:27], line[27]))
    whole = line[:10] + line[13:20] + line[21:43]
    return all(icao(text) == int(check) for text, check in (*fields, (whole, line[43])))


def sg_nric(text: str) -> bool:
    total = mod(text[1:8], (2, 7, 6, 5, 4, 3, 2), 11) + (4 if text[0] == "T" else 0)
    return "JZIHGFEDCBA"[total % 11] == text[8]


# By format: the check, and a published value for which it holds.
CHECKS: dict[str, tuple[Callable[[str], bool], str]] = {
    "iban-de": (iban, "GB82 WEST 1234 5698 7654 32"),
    "iban-gb": (iban, "GB82 WEST 1234 5698 7654 32"),
    "us-routing-number": (lambda t: mod(t, (3, 7, 1) * 3, 10) == 0, "021000021"),
    "us-npi": (lambda t: luhn("80840" + t), "1234567893"),
    "uk-nhs-number": (lambda t: mod(t, range(10, 0, -1), 11) == 0, "9434765919"),
    "ca-sin": (luhn, "046454286"),
    "fr-nir": (fr_nir, "255081416802538"),
    "de-tax-id": (de_tax, "36574261809"),
    "es-dni": (lambda t: SPANISH[int(t[:8]) % 23] == t[8], "12345678Z"),
    "it-codice-fiscale": (it_cf, "RSSMRA85T10A562S"),
    "nl-bsn": (lambda t: mod(t, (9, 8, 7, 6, 5, 4, 3, 2, -1), 11) == 0, "111222333"),
    "pt-nif": (lambda t: mod(t, range(9, 0, -1), 11) in (0, 1), "123456789"),
    "pl-pesel": (lambda t: mod(t, (1, 3, 7, 9) * 2 + (1, 3, 1), 10) == 0, "44051401359"),
    "fi-hetu": (lambda t: FINNISH[int(t[:6] + t[7:10]) % 31] == t[10], "131052-308T"),
    "br-cpf": (lambda t: _cpf_digits(digits(t)), "52998224725"),
    "cn-resident-id": (cn_id, "11010519491231002X"),
    "sg-nric": (sg_nric, "S1234567D"),
    "cl-rut": (
        lambda t: "0123456789K"[-mod(t[:-1][::-1], (2, 3, 4, 5, 6, 7, 2, 3), 11) % 11] == t[-1],
        "12.345.678-5",
    ),
    "in-aadhaar": (verhoeff, "2363"),
    "imei": (luhn, "4111111111111111"),
    "card-visa": (luhn, "4111111111111111"),
    "card-amex": (luhn, "378282246310005"),
    "card-diners": (luhn, "378282246310005"),
    "se-personnummer": (luhn, "046454286"),
    "il-id": (luhn, "046454286"),
    "za-id": (luhn, "046454286"),
    "gr-amka": (luhn, "046454286"),
}
# By format: a check of numbers for which no value is published here.
OTHERS: dict[str, Callable[[str], bool]] = {
    "ro-cnp": lambda t: (
        mod(t[:12], (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9), 11) % 10 == int(t[12])
        or (mod(t[:12], (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9), 11), t[12]) == (10, "1")
    ),
    "bg-egn": lambda t: mod(t[:9], (2, 4, 8, 5, 10, 9, 7, 3, 6), 11) % 10 == int(t[9]),
    "be-national-number": lambda t: (int("".join(map(str, digits(t)[:9]))) + int(t[-2:])) % 97 == 0,
    "cz-birth-number": lambda t: int(t.replace("/", "")) % 11 == 0,
    "ch-ahv": lambda t: mod(t, (1, 3) * 6 + (1,), 10) == 0,
    "ar-cuit": lambda t: mod(t, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1), 11) == 0,
    "au-tfn": lambda t: mod(t, (1, 4, 3, 7, 5, 8, 6, 9, 10), 11) == 0,
    "au-abn": lambda t: (mod(t, (10, *range(1, 21, 2)), 89) - 10) % 89 == 0,
    "tr-identity-number": lambda t: (
        sum(digits(t)[:10]) % 10 == int(t[10])
        and (7 * sum(digits(t)[0:9:2]) - sum(digits(t)[1:8:2])) % 10 == int(t[9])
    ),
    "ru-inn": lambda t: mod(t[:11], (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8), 11) % 10 == int(t[11]),
    "ru-snils": lambda t: mod(t[:-3], range(9, 0, -1), 101) % 100 == int(t[-2:]),
    "passport-mrz": mrz,
    "us-dea": lambda t: mod(t[2:8], (1, 2) * 3, 10) == int(t[8]),
    "ie-pps": lambda t: (
        "WABCDEFGHIJKLMNOPQRSTUV"[(mod(t[:7], range(8, 1, -1), 23) + 9 * (ord(t[8]) - 64)) % 23]
        == t[7]
    ),
    "us-ssn": lambda t: re.fullmatch(r"(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}", t) is not None,
    "uk-nino": lambda t: re.fullmatch(r"[A-CEGHJ-PR-TW-Z]{2}( \d\d){3} [A-D]", t) is not None,
}


@each("name", list(CHECKS))
def test_a_check_holds_for_a_published_value(name: str) -> None:
    check, published = CHECKS[name]
    assert check(published)


@each("seed", SEEDS)
@each("name", [*CHECKS, *OTHERS])
def test_a_number_checks(name: str, seed: str) -> None:
    check = CHECKS[name][0] if name in CHECKS else OTHERS[name]
    made = mint(name, seed)
    assert check(made), made


@each("name", list(CHECKS))
def test_no_number_is_a_published_one(name: str) -> None:
    published = digits(CHECKS[name][1])
    assert all(digits(mint(name, seed)) != published for seed in SEEDS)


def test_each_number_is_one_of_a_person_or_an_account() -> None:
    assert all(formats()[name].use is Use.NUMBER for name in (*CHECKS, *OTHERS))
