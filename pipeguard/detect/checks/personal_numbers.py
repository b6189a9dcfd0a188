"""Numbers of people, their cards and their things: whether a text could be one of a kind.

Each test says whether a number is well-formed, and none whether anybody has it. Sources: ISO 7812
(cards), ICAO 9303 (passports), ISO 3779 (vehicles), 3GPP 23.003 (IMEI); those of states are in
detect.checks.national_ids, and what documentation prints is in detect.words.published.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipeguard.detect.checks.check_digits import digits, has_luhn_digit, icao_digit
from pipeguard.detect.checks.national_ids import NATIONAL_IDS, IsValid
from pipeguard.detect.words.published import NUMBERS as PUBLISHED
from pipeguard.firewall.lazy_regex import lazy_regex


def is_number(kind: str, secret: bytes) -> bool:
    """Say whether a text, with whatever is written between its groups, could be a number of a kind.

    Args:
        kind: one of NUMBERS.
        secret: the text.
    """
    return could_be(kind, _plain(secret))


def is_telling(secret: bytes) -> bool:
    """Say whether a text could be a number of one of the kinds that are known by their form."""
    text = _plain(secret)
    return any(form.fullmatch(text) and could_be(kind, text) for form, kind in _TELLING)


def is_published_number(secret: bytes) -> bool:
    """Say whether documentation prints a number."""
    return _plain(secret) in PUBLISHED


def _plain(secret: bytes) -> str:
    """A number without what is written between its groups."""
    return re.sub(rb"[ ./\s-]", b"", secret[:200]).upper().decode("utf-8", "replace")


def could_be(kind: str, text: str) -> bool:
    """Say whether a number could be one of a kind.

    Args:
        kind: one of NUMBERS.
        text: its letters and digits alone.
    """
    if len(set(text)) < 3:
        return False
    try:
        return NUMBERS[kind](text)
    except (ValueError, IndexError, KeyError):
        return False  # not of its shape


def _card(text: str) -> bool:
    """ISO 7812: the issuer's range and length, and Luhn."""
    return (
        text.isdigit()
        and any(
            len(text) in lengths and low <= int(text[: len(str(low))]) <= high
            for low, high, lengths in _ISSUERS
        )
        and has_luhn_digit(text)
    )


_ISSUERS: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (4, 4, (13, 16, 19)),
    (51, 55, (16,)),
    (2221, 2720, (16,)),
    (34, 34, (15,)),
    (37, 37, (15,)),
    (6011, 6011, (16, 19)),
    (644, 659, (16, 19)),
    (3528, 3589, (16, 17, 18, 19)),
    (300, 305, (14, 16)),
    (36, 36, (14, 16)),
    (38, 39, (14, 16)),
    (62, 62, (16, 17, 18, 19)),
    (50, 50, (12, 13, 14, 15, 16, 17, 18, 19)),
    (56, 69, (12, 13, 14, 15, 16, 17, 18, 19)),
    (2200, 2204, (16, 17, 18, 19)),
    (81, 82, (16,)),
)


def _passport_mrz(text: str) -> bool:
    """The second line of a machine-readable passport: number, birth, expiry, and their checks."""
    line = text[-44:]
    return len(text) >= 44 and all(
        line[end : end + 1].isdigit() and icao_digit(line[start:end]) == int(line[end])
        for start, end in ((0, 9), (13, 19), (21, 27))
    )


_VIN = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", digits("12345678123457923456789"), strict=True))


def _vin(text: str) -> bool:
    total = sum(
        (_VIN[c] if c in _VIN else int(c)) * weight
        for c, weight in zip(
            text, (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2), strict=True
        )
    )
    return "0123456789X"[total % 11] == text[8]


# Of which a number says by its own form what it is, without a name beside it.
_TELLING = (
    (lazy_regex("[A-Z]{6}[0-9A-Z]{9}[A-Z]"), "it-codice-fiscale"),
    (lazy_regex("[A-Z]{4}[0-9]{6}[A-Z]{6}[0-9A-Z]{2}"), "mx-curp"),
    (lazy_regex("[0-9]{17}[0-9X]"), "cn-resident"),
    (lazy_regex("[0-9]{13}"), "kr-rrn"),
    (lazy_regex("[0-9]{9}"), "us-ssn"),
    (lazy_regex("[0-9]{11}"), "br-cpf"),
    (lazy_regex("[0-9+]{10,13}"), "se-personnummer"),
)


NUMBERS: Mapping[str, IsValid] = {
    "card": _card,
    "iban": bool,  # a rule for these requires `iban`, of detect.checks.checksums
    "imei": has_luhn_digit,
    "passport-mrz": _passport_mrz,
    "vin": _vin,
    **NATIONAL_IDS,
}
