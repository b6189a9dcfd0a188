"""Where the secret in a match is, and what checks say of it."""

import pytest

from pipeguard.detect.checks.outcome import Outcome
from pipeguard.detect.matching.confirm import Finder, Occurrence
from pipeguard.detect.scanning.scan_budget import (
    run_check,
    without_separators,
)


def match_of(pattern: str, text: str) -> Occurrence:
    return next(Finder(pattern, ignore_case=False).finditer(text.encode(), 0, len(text)))


def test_the_secret_is_the_group_of_that_name_or_all_of_it() -> None:
    assert match_of("key=(?P<secret>[a-z]+)", "x key=abc").secret == (6, 9)
    assert match_of("key=([a-z]+)", "x key=abc").secret == (2, 9)
    assert match_of("key=(?P<secret>[0-9]+)?", "x key=abc").secret == (2, 6)


@pytest.mark.parametrize("number", [b"4111 1111-1111.1111", b"4111/1111/11111111"])
def test_a_number_is_compared_without_separators(number: bytes) -> None:
    assert without_separators(number) == b"4111111111111111"
    assert without_separators(b"gb82 west") == b"GB82WEST"


def test_a_check_is_run_on_the_secret() -> None:
    text = "card 4111 1111 1111 1111"
    match, data = match_of("card (?P<secret>[0-9 ]+)", text), text.encode()
    assert run_check("luhn", data, match, data[slice(*match.secret)]) is Outcome.HOLDS
    assert run_check("luhn", data, match, b"4111 1111 1111 1112") is Outcome.FAILS
