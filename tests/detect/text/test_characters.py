"""Texts in invisible characters, or in character codes."""

from collections.abc import Callable

import pytest

from pipeguard.detect.text.characters import ENCODINGS
from pipeguard.firewall.budgets import DecodingBudget
from tests.detect.text.reading import PLAIN, readings
from tests.each import each
from tests.fuzz.disguises import UNSEEN, Disguise


@each("disguise", UNSEEN)
def test_what_is_written_unseen_is_read(disguise: Disguise) -> None:
    assert PLAIN.encode() in readings(f"nice \U0001f600{disguise(PLAIN)} weather".encode())


def test_flags_are_no_hidden_text() -> None:
    scotland = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
    assert readings(scotland.encode()) == []


@each("between", ["-----char---", ") + character_code.(", f" + - +{'c' * 16}((- "])
def test_numbers_of_a_row_may_be_as_far_apart_as_calls_write_them(between: str) -> None:
    row = between.join(str(ord(letter)) for letter in PLAIN)
    data = f"Of 2019 and 2020, page 44.{' ' * 40}({row}{' ' * 40}7)".encode()
    decoded = [*ENCODINGS["codes"].decode(data, 0, len(data), DecodingBudget())]
    assert decoded[0].data == PLAIN.encode()


def test_numbers_that_are_no_letters_are_not() -> None:
    assert readings(b"1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12") == []


@each("size", (1, 2))
def test_the_bytes_of_a_dump_are_read_without_its_offsets_and_letters(size: int) -> None:
    data = PLAIN.encode()
    lines = [
        f"{at:08x}: {data[at : at + 16].hex(' ', size):<40}  {PLAIN[at : at + 16]}"
        for at in range(0, len(data), 16)
    ]
    assert data in readings("\n".join(("dump:", *lines)).encode())


def test_a_dump_of_no_text_is_not_read() -> None:
    noise = bytes(range(0, 256, 3))
    lines = [f"{at:08x}  {noise[at : at + 16].hex(' ')}" for at in range(0, len(noise), 16)]
    assert not any(noise.hex().encode() in item for item in readings("\n".join(lines).encode()))


KEY = bytes.fromhex("302e020100300506032b657004220420") + bytes(range(32))
CERTIFICATE = bytes.fromhex("3082012230820102a003020102021404") + bytes(range(32))


@pytest.mark.parametrize(
    "write",
    [
        lambda data: str(list(data)),
        lambda data: ", ".join(f"0x{byte:02X}" for byte in data),
        lambda data: "".join(f"\\x{byte:02x}" for byte in data),
        lambda data: "00000000  " + data[:16].hex(" ") + "\n00000010  " + data[16:].hex(" "),
    ],
    ids=["decimal", "hexadecimal", "escapes", "dump"],
)
def test_numbers_of_the_bytes_of_a_private_key_are_read(write: Callable[[bytes], str]) -> None:
    start = KEY.hex()[:64].encode()
    assert any(start in decoded for decoded in readings(f"x = {write(KEY)}".encode()))
    assert not any(
        b"308201" in decoded for decoded in readings(f"x = {write(CERTIFICATE)}".encode())
    )


def test_what_is_overridden_is_read_as_it_is_displayed() -> None:
    assert b"ignore" in b"".join(readings("see \u202eerongi\u202c this".encode()))
