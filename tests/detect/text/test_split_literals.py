"""Literals that a program joins are read joined, and located in the text."""

import re

import pytest

from pipeguard.detect.text.split_literals import FEW_LITERALS, SIGN, joined_literals
from pipeguard.unicode.folding import keep
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)


@each("code", CASES["literals_that_a_program_joins_are_read_joined"])
def test_literals_that_a_program_joins_are_read_joined(code: str) -> None:
    data = code.encode()
    readings = [keep(data, kept) for kept, _ in joined_literals(data, 0, len(data))]
    assert any(b"AKIAZ7QX" in joined for joined, _ in readings)
    for joined, back in readings:
        if (start := joined.find(b"AKIAZ7QX")) >= 0:
            low, high = back.span(start, start + 8)
            assert data[low:high].startswith(b"AKIA")
            assert data[low:high].endswith(b"Z7QX")


def test_a_literal_alone_is_nothing_to_join() -> None:
    assert list(joined_literals(b"key = 'AKIA'", 0, 12)) == []
    assert list(joined_literals(b"rock'n'roll", 0, 11)) == []  # quotes within a word begin none


def test_of_many_literals_some_fit_together_by_chance() -> None:
    for count in (FEW_LITERALS, FEW_LITERALS + 1):
        data = b"\n".join(b"'a%d'" % number for number in range(count))
        *_, (kept, are_many) = joined_literals(data, 0, len(data))
        assert (len(kept), are_many) == (count, count > FEW_LITERALS)


@pytest.mark.parametrize(
    "piece",
    ["nt-api03-" + "x" * 100, "xoxb-" + "1" * 12, "hf_" + "aBcDe" * 3 + "F", "$y$j9T$" + "." * 70],
)
def test_a_piece_of_a_secret_is_a_sign_however_long(piece: str) -> None:
    assert re.search(SIGN, f"'{piece}'")


@pytest.mark.parametrize("name", ["convertToFP", "2024-01-01", "propertyIsEnumerable", "a b1"])
def test_a_name_is_no_sign_of_a_secret(name: str) -> None:
    assert not re.search(SIGN, f"'{name}'")
