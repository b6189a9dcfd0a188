"""What documentation prints would be a secret or a number if it were not listed."""

import re

from pipeguard.detect.checks.personal_numbers import NUMBERS
from pipeguard.detect.words import published
from tests.detect.words.proof import tables


def is_well_formed(number: str) -> bool:
    for kind, is_valid in NUMBERS.items():
        try:
            if kind != "iban" and is_valid(number):
                return True
        except (ValueError, IndexError, KeyError):
            continue
    return re.fullmatch(r"[A-Z]{2}\d{2}[0-9A-Z]{11,30}", number) is not None


def test_each_number_is_well_formed() -> None:
    assert [number for number in published.NUMBERS if not is_well_formed(number)] == []


def test_each_digest_is_half_of_a_sha256() -> None:
    assert all(re.fullmatch("[0-9a-f]{32}", digest) for digest in published.SECRET_DIGESTS)


def test_every_table_has_a_proof() -> None:
    assert tables(published) == {"NUMBERS", "SECRET_DIGESTS"}
