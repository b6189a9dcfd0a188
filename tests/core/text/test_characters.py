"""Texts in characters that nobody sees, or by the numbers of characters."""

import pytest

from tests.core.text.reading import PLAIN, readings
from tests.each import each
from tests.fuzz.disguises import UNSEEN, Disguise


@each("disguise", UNSEEN)
def test_what_is_written_unseen_is_read(disguise: Disguise) -> None:
    assert PLAIN.encode() in readings(f"nice \U0001f600{disguise(PLAIN)} weather".encode())


def test_flags_are_no_hidden_text() -> None:
    scotland = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
    assert readings(scotland.encode()) == []


@pytest.mark.parametrize(
    "written",
    [
        ", ".join(str(ord(letter)) for letter in PLAIN),
        "+".join(f"chr({ord(letter)})" for letter in PLAIN),
        " ".join(f"{ord(letter):03o}" for letter in PLAIN),
        " ".join(f"{ord(letter):08b}" for letter in PLAIN),
        "".join(f"{ord(letter):08b}" for letter in PLAIN),
        " ".join(f"U+{ord(letter):04X}" for letter in PLAIN),
    ],
    ids=["decimal", "calls", "octal", "binary", "bits", "code points"],
)
def test_numbers_of_characters_are_read(written: str) -> None:
    assert any(PLAIN.encode() in decoded for decoded in readings(f"say {written}".encode()))


def test_numbers_that_are_no_letters_are_not() -> None:
    assert readings(b"1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12") == []


def test_what_is_overridden_is_read_as_it_is_displayed() -> None:
    assert b"ignore" in b"".join(readings("see \u202eerongi\u202c this".encode()))
