"""Readings of words that are spelt another way: backwards, by ROT13, with digits for letters.

Such a reading differs from every text, so it is only made where a watched word stands in that
spelling. Knows letters and a list of words; what they mean is for the rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable

# Of each order to a model or theft of a credential, some word is one of these. None of them is a
# word when read backwards or turned by thirteen letters.
WATCHED = (
    *("ignore", "disregard", "override", "instruct", "previous", "prompt", "assistant", "secret"),
    *("password", "credential", "confidential", "forward", "execute", "reveal", "bypass", "upload"),
    *("developer", "private", "attacker", "exfiltrat", "without telling", "api key", "api_key"),
    *("token", "environment", "forget", "system", "guideline", "silently", "sudo rm", "rm -rf"),
    *("curl http", "/etc/passwd", "id_rsa", ".aws/", "drop table"),
)
# What well-known credentials begin with, in their own case.
PREFIXES = (
    *(
        "AKIA",
        "ASIA",
        "AIza",
        "ghp_",
        "gho_",
        "ghs_",
        "github_pat_",
        "glpat-",
        "sk-ant-",
        "sk_live_",
    ),
    *("rk_live_", "sk-proj-", "xoxb-", "xoxp-", "npm_", "pypi-", "hf_", "SG.", "ya29.", "dop_v1_"),
    *("shpat_", "eyJhbGciOi", "-----BEGIN", "postgres://", "mongodb+srv", "AGE-SECRET-KEY"),
)
MIN_PREFIX = 4  # characters: shorter ones stand in any noise
_LEET = {
    "a": "4@",
    "e": "3",
    "i": "1!",
    "o": "0",
    "s": "5$",
    "t": "7+",
    "b": "8",
    "l": "1|",
    "g": "9",
}
LEETABLE = 6  # letters of a word that is watched in leetspeak


def rot13(text: bytes) -> bytes:
    """Each letter of ASCII turned by thirteen, all else as it is."""
    return text.translate(_ROT13)


def reverse(text: bytes) -> bytes:
    """The characters from last to first."""
    return text[::-1] if text.isascii() else text.decode("utf-8", "replace")[::-1].encode()


def unleet(text: bytes) -> bytes:
    """Digits and signs as the letters that they look like; `1` as an i."""
    return text.translate(_UNLEET)


def unleet_l(text: bytes) -> bytes:
    """The same, but `1` as an l."""
    return text.translate(_UNLEET_L)


def _turned(text: str) -> str:
    return rot13(text.encode()).decode()


_LOWER = b"abcdefghijklmnopqrstuvwxyz"
_ROT13 = bytes.maketrans(
    _LOWER + _LOWER.upper(), _LOWER[13:] + _LOWER[:13] + (_LOWER[13:] + _LOWER[:13]).upper()
)
_UNLEET = bytes.maketrans(b"43105$7@!+89|", b"aeiossta" + b"itbgl")
_UNLEET_L = bytes.maketrans(b"43105$7@!+89|", b"aelossta" + b"itbgl")


def _either(words: tuple[str, ...], spell: Callable[[str], str]) -> str:
    """A pattern for any of the watched words and prefixes in a spelling."""
    plain = "|".join(re.escape(spell(word)) for word in words)
    exact = "|".join(re.escape(spell(word)) for word in PREFIXES if len(word) >= MIN_PREFIX)
    return f"(?i:{plain})|(?:{exact})"


def _leet(word: str) -> str:
    """A pattern for a word in which at least one letter is written as a digit or a sign."""
    letters = [f"[{letter}{re.escape(_LEET.get(letter, ''))}]" for letter in word]
    forms = (
        re.escape(word[:at]) + f"[{re.escape(_LEET[letter])}]" + "".join(letters[at + 1 :])
        for at, letter in enumerate(word)
        if letter in _LEET
    )
    return "|".join(forms)


REVERSED = _either(WATCHED, lambda word: word[::-1])
TURNED = _either(WATCHED, _turned)
LEET = "|".join(_leet(word) for word in WATCHED if len(word) >= LEETABLE and word.isalpha())
LEET = f"(?i:{LEET})"
