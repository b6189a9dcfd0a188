"""Seed phrases: by their words, their length and their checksum."""

import hashlib

from pipeguard.detect.checks.bip39 import has_phrase, is_printed_phrase, phrase
from pipeguard.detect.words import bip39
from tests.each import each

LIST = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"  # bip-0039/english.txt


def test_the_words_are_those_of_the_standard() -> None:
    lines = "".join(f"{word}\n" for word in bip39.in_order("WORDS"))
    assert hashlib.sha256(lines.encode()).hexdigest() == LIST


@each("size", [16, 20, 24, 28, 32])
def test_a_phrase_is_found_among_other_words(size: int) -> None:
    words = [word.encode() for word in phrase(bytes(range(7, 7 + size)))]
    assert len(words) == size * 3 // 4
    assert has_phrase([b"my", b"words", b"are", *words, b"xyzzy"])
    assert not has_phrase(words[:-1])


def test_a_wrong_checksum_is_no_phrase() -> None:
    words = [word.encode() for word in phrase(bytes(range(16)))]
    others = [word.encode() for word in bip39.in_order("WORDS") if word.encode() not in words]
    assert sum(has_phrase([*words[:-1], word]) for word in others) < len(others) // 10


def test_what_the_standard_prints_is_known() -> None:
    assert not has_phrase([word.encode() for word in phrase(bytes(16))])
    assert not has_phrase([word.encode() for word in bip39.in_order("WORDS")[:24]])
    printed = [word.encode() for word in phrase(b"\x7f" * 16)]
    assert has_phrase(printed)
    assert is_printed_phrase([b"x", *printed])
    assert not is_printed_phrase([word.encode() for word in phrase(bytes(range(16)))])


def test_names_that_repeat_their_words_are_no_phrase() -> None:
    words = [bip39.in_order("WORDS")[at] for at in (205, 929, 1700, 363)]
    names = [word.encode() for word in words for _ in range(2)] * 6
    assert not has_phrase(names)
