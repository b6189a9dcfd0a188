"""What an expression found, and what is asked of it."""

import re

import pytest

from pipeguard.core.checks.outcome import Outcome
from pipeguard.core.scanning.match import (
    MAX_MATCHES_PER_RULE,
    MAX_PRIVATE_PER_RULE,
    ask,
    digits_of,
    most,
    secret_span,
)
from tests.fuzz.rulebook import RULES


def found(pattern: str, text: str) -> re.Match[bytes]:
    match = re.search(pattern.encode(), text.encode())
    assert match
    return match


def test_the_secret_is_the_group_of_that_name_or_all_of_it() -> None:
    assert secret_span(found("key=(?P<secret>[a-z]+)", "x key=abc")) == (6, 9)
    assert secret_span(found("key=([a-z]+)", "x key=abc")) == (2, 9)
    assert secret_span(found("key=(?P<secret>[0-9]+)?", "x key=abc")) == (2, 6)


def test_what_may_be_taken_out_is_told_more_often() -> None:
    assert most(RULES["secrets.github-token"]) == MAX_PRIVATE_PER_RULE
    assert most(RULES["injection.override-instructions"]) == MAX_MATCHES_PER_RULE


@pytest.mark.parametrize("number", [b"4111 1111-1111.1111", b"4111/1111/11111111"])
def test_what_is_written_between_groups_is_left_out(number: bytes) -> None:
    assert digits_of(number) == b"4111111111111111"
    assert digits_of(b"gb82 west") == b"GB82WEST"


def test_a_check_is_asked_of_the_secret() -> None:
    match = found("card (?P<secret>[0-9 ]+)", "card 4111 1111 1111 1111")
    assert ask("luhn", match.string, match, match["secret"]) is Outcome.HOLDS
    assert ask("luhn", match.string, match, b"4111 1111 1111 1112") is Outcome.FAILS
