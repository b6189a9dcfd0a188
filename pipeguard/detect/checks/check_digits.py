"""Check digits of numbers that people have: weighted sums, Luhn, ISO 7064, Verhoeff, ICAO 9303.

Arithmetic over texts of digits; ValueError where a letter is in one. Knows no kind of number.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeguard.detect.checks.checksums import luhn_digit

_DIHEDRAL_STEP = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
_ICAO_WEIGHTS = (7, 3, 1)


def digits(text: str) -> list[int]:
    """The digits of a text, as numbers."""
    return [int(digit) for digit in text]


def weighted_sum(text: str, weights: Sequence[int]) -> int:
    """The sum of each digit times its weight; ends with the shorter of the two."""
    return sum(digit * weight for digit, weight in zip(digits(text), weights, strict=False))


def has_luhn_digit(text: str) -> bool:
    """True where the last digit completes the others (ISO/IEC 7812-1, annex B)."""
    return text.isdigit() and luhn_digit(text[:-1].encode()) == text[-1:].encode()


def has_mod_11_10_digit(text: str) -> bool:
    """True where the last digit completes the others (ISO 7064, MOD 11,10)."""
    product = 10
    for digit in digits(text[:-1]):
        total = (digit + product) % 10 or 10
        product = 2 * total % 11
    return (11 - product) % 10 == int(text[-1])


def has_verhoeff_digit(text: str) -> bool:
    """True where the last digit completes the others (Verhoeff, 1969)."""
    check = 0
    for place, digit in enumerate(reversed(digits(text))):
        for _ in range(place % 8):
            digit = _DIHEDRAL_STEP[digit]  # noqa: PLW2901  the permutation, place times
        check = _dihedral_product(check, digit)
    return check == 0


def _dihedral_product(a: int, b: int) -> int:
    """The product in the group of a pentagon's symmetries."""
    turned = a >= 5
    side = (a - b) % 5 if turned else (a + b) % 5
    return side + 5 * (turned != (b >= 5))


def icao_digit(text: str) -> int:
    """The digit that completes a field of a machine-readable passport (ICAO 9303, part 3, 4.9)."""
    values = (0 if letter == "<" else int(letter, 36) for letter in text)
    return sum(value * _ICAO_WEIGHTS[place % 3] for place, value in enumerate(values)) % 10
