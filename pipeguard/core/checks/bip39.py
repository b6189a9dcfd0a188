"""Seed phrases of BIP-39: 12 to 24 of its 2,048 words in a row, with a checksum in the last.

Only the English list is known: a phrase in another of the standard's languages is not seen.
Source: BIP-39, "Generating the mnemonic".
"""

from __future__ import annotations

from functools import cache

from pipeguard.core.words.bip39 import WORDS

LENGTHS = (24, 21, 18, 15, 12)  # words of a phrase, the longest first


@cache
def _numbers() -> dict[bytes, int]:
    return {word: number for number, word in enumerate(WORDS.encode().split())}


def has_phrase(words: list[bytes]) -> bool:
    """Say whether some of these words, next to each other, are a phrase with its checksum.

    What the standard prints is none, nor is a stretch of its list.
    """
    known_numbers = _numbers()
    numbers = [known_numbers.get(word, -1) for word in words]
    return any(
        _is_phrase(numbers[start : start + length])
        for length in LENGTHS
        for start in range(len(numbers) - length + 1)
    )


def _is_phrase(numbers: list[int]) -> bool:
    if min(numbers) < 0 or len(set(numbers)) < len(numbers) // 2 or numbers == sorted(numbers):
        return False
    bits = 0
    for number in numbers:
        bits = bits << 11 | number
    check_bits = len(numbers) // 3
    entropy = (bits >> check_bits).to_bytes(check_bits * 4, "big")
    is_printed = len(set(entropy)) == 1  # the test vectors: one byte over and over
    return not is_printed and _checksum(entropy) == bits & (1 << check_bits) - 1


def _checksum(entropy: bytes) -> int:
    from pipeguard.core.digest import sha256

    return sha256(entropy).digest()[0] >> 8 - len(entropy) // 4


def phrase(entropy: bytes) -> list[str]:
    """The words for 16 to 32 random bytes, in steps of four."""
    words = WORDS.split()
    check_bits = len(entropy) // 4
    bits = int.from_bytes(entropy, "big") << check_bits | _checksum(entropy)
    return [words[bits >> 11 * place & 2047] for place in reversed(range(3 * check_bits))]
