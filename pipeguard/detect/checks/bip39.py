"""Seed phrases of BIP-39: 12 to 24 of its 2,048 words in a row, with a checksum in the last.

Only the English list is known: a phrase in another of the standard's languages is not seen.
Source: BIP-39, "Generating the mnemonic".
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from pipeguard.detect.words import bip39

LENGTHS = (24, 21, 18, 15, 12)  # words of a phrase, the longest first
_SHORTEST = b"\1" * LENGTHS[-1]  # so many words in a row that are on the list


@cache
def _numbers() -> dict[bytes, int]:
    return {word.encode(): number for number, word in enumerate(bip39.in_order("WORDS"))}


def has_phrase(words: list[bytes]) -> bool:
    """Say whether some of these words, next to each other, are a phrase with its checksum.

    A stretch of the standard's list is none.
    """
    return any(True for _ in _phrases(words))


def is_printed_phrase(words: list[bytes]) -> bool:
    """Say whether the only phrases among these words are those that the standard prints."""
    return all(len(set(entropy)) == 1 for entropy in _phrases(words))


def _phrases(words: list[bytes]) -> Iterator[bytes]:
    """The entropy of each phrase among some words."""
    known_numbers = _numbers()
    known = bytes([word in known_numbers for word in words])
    if known.find(_SHORTEST) < 0:
        return  # before any stretch is looked at: most words in a row are those of a sentence
    numbers = [known_numbers.get(word, -1) for word in words]
    for length in LENGTHS:
        for start in range(len(numbers) - length + 1):
            entropy = _entropy(numbers[start : start + length])
            if entropy is not None:
                yield entropy


def _entropy(numbers: list[int]) -> bytes | None:
    """The bytes that the words of a phrase stand for; None if they are no phrase."""
    if min(numbers) < 0 or numbers == sorted(numbers):
        return None
    if 3 * len(set(numbers)) < 2 * len(numbers):
        return None  # so repetitive are no random words
    bits = 0
    for number in numbers:
        bits = bits << 11 | number
    check_bits = len(numbers) // 3
    entropy = (bits >> check_bits).to_bytes(check_bits * 4, "big")
    is_phrase = _checksum(entropy) == bits & (1 << check_bits) - 1
    return entropy if is_phrase else None


def _checksum(entropy: bytes) -> int:
    from hashlib import sha256

    return sha256(entropy).digest()[0] >> 8 - len(entropy) // 4


def phrase(entropy: bytes) -> list[str]:
    """The words for 16 to 32 random bytes, in steps of four."""
    words = bip39.in_order("WORDS")
    check_bits = len(entropy) // 4
    bits = int.from_bytes(entropy, "big") << check_bits | _checksum(entropy)
    return [words[bits >> 11 * place & 2047] for place in reversed(range(3 * check_bits))]
