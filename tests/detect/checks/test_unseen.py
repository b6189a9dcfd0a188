"""Invisible characters: needed by a script or a picture, or not."""

import pytest

from pipeguard.detect.checks.outcome import AROUND, Outcome
from pipeguard.detect.checks.unseen import CHECKS, has_unneeded

NEEDED = {
    "persian": "می\u200cخواهم",
    "hindi": "क्\u200dष",
    "keycap": "1\ufe0f\u20e3",
    "information": "\u2139\ufe0f",
    "flag": "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "thai": "ข้อความ\u200bไทย",
    "jamo": "\u1100\u1160",
    "khmer": "\u1780\u17b4",
    "ideograph": "葛\U000e0100城",
    "hyphen": "Donau\u00addampf",
    "first": "\ufeffReads a file.",
    "plain": "Reads a file.",
}
UNNEEDED = {
    "tag": "Adds\U000e0061 numbers",
    "space": "Ad\u200bds",
    "joined picture": "\U0001f469\u200dx",
    "private": "numbers\ue001",
    "selector": "numbers.\ufe0f",
    "mark": "Adds\ufeff numbers",
    "fillers": "x\u115f\u1160\u115f",
    "hyphen": "Adds\u00ad numbers",
    "torn flag": "\U0001f3f4\U000e0067",
}


def test_what_a_script_or_a_picture_needs_is_told_from_what_nothing_beside_it_needs() -> None:
    assert [name for name, text in NEEDED.items() if has_unneeded(text)] == []
    check = CHECKS["unseen-without-need"]
    held = {name: check(text.encode()) for name, text in UNNEEDED.items() if has_unneeded(text)}
    assert held == dict.fromkeys(UNNEEDED, True)


def test_broken_bytes_are_no_characters() -> None:
    assert CHECKS["unseen-without-need"](b"\xe2\x80") is False


@pytest.mark.parametrize(
    ("around", "expected"),
    [
        ("Adds\u200f numbers", True),
        ("Adds\u061c numbers", True),
        ("שלום \u200fעולם", False),
        ("الملف\u200f a.txt", False),
    ],
)
def test_a_mark_needs_a_letter_written_from_the_right(around: str, expected: Outcome) -> None:
    text = "\u200f".encode() + AROUND + around.encode()
    assert CHECKS["around-without-right-to-left"](text) is expected
