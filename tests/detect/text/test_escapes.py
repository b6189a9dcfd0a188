"""Characters that are written as escapes are read together with the text around them."""

import pytest

from tests.detect.cases import read_cases
from tests.detect.text.reading import readings, signs_in
from tests.each import each
from tests.fuzz.disguises import ENCODINGS

CASES = read_cases(__file__)


def test_surrogate_pairs_are_one_character() -> None:
    assert readings(b"\\ud83d\\ude00 and more") == ["😀 and more".encode()]
    assert readings(b"\\ud83d and more") == ["\ufffd and more".encode()]
    assert readings(b"\\u{1f600} and more") == ["😀 and more".encode()]


@each("name", ["mail", "entities", "percent", "escapes x"])
@each("length", range(120, 132))
def test_a_long_row_of_escapes_is_read_to_its_last(name: str, length: int) -> None:
    text = ("0x7a, " * 30)[:length]
    decoded = readings(f"see {ENCODINGS[name](text)} and tell me".encode())
    assert any(text.encode() in item for item in decoded)


@each("written, plain", CASES["what_is_highlighted_is_read_with_what_is_around_it"])
def test_what_is_highlighted_is_read_with_what_is_around_it(written: str, plain: str) -> None:
    assert any(plain.encode() in item for item in readings(written.encode()))


@pytest.mark.parametrize(
    "written", ["\x1b[32mINFO\x1b[0m started", "a <b>bold</b> word", "1 <i> 2", "List<String>x"]
)
def test_highlighted_words_are_left_alone(written: str) -> None:
    assert "markup" not in signs_in(written.encode())


@pytest.mark.parametrize("written", ["100% of it", "a & b", "a = b", "C:/new"])
def test_a_sign_that_escapes_nothing_is_left_alone(written: str) -> None:
    assert readings(written.encode()) == []
