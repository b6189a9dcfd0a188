"""Values of a text that are secrets, by their looks or by what the text calls them."""

from __future__ import annotations

import re
from collections.abc import Callable

from pipeguard.detect.checks.placeholders import entropy
from pipeguard.detect.flows.overlap import squeeze
from pipeguard.detect.flows.text_values import TOKEN_CHARS, tokens
from pipeguard.detect.words import credentials
from pipeguard.firewall.lazy_regex import lazy_regex

SECRET_ENTROPY = 3.0  # bits a character
LONG_CHARS = 20
MOST_SECRETS = 200  # of one text that are looked up
SECRET_TEXT = 2**18  # characters of it that are read for them

_UUID = lazy_regex(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_HEX = lazy_regex(r"[0-9a-fA-F]+")
_PARTS = lazy_regex(r"[A-Za-z0-9]+")
_PLAIN_WORD = lazy_regex(r"(?:[A-Z]?[a-z]+|[A-Z]+)\Z")
# Digits among letters: a word that only ends in a number is a name.
_MIXED = lazy_regex(r"[A-Za-z][0-9]+[A-Za-z]|[0-9][A-Za-z]+[0-9]|[a-z][A-Z]+[a-z]+[A-Z0-9]")
_NAMED = lazy_regex(
    rf"(?:{'|'.join(credentials.in_order('NAMED'))})[\w-]{{0,20}}[\"']?"
    r"\s?([=:]|\bis\b)\s?[\"']?([^\s\"',;<>]{8,200})",
    re.IGNORECASE,
)
# A plain word says what a token is for, and is none; nor is a variable's name.
_WORD = lazy_regex(r"(?:[A-Za-z]?[a-z-]*|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)[.!?]?\Z")


def is_secret(token: str) -> bool:
    """True for a dense token that is no id, no digest, no path, no address and no words."""
    if "/" in token or "@" in token or _UUID.fullmatch(token) or _HEX.fullmatch(token):
        return False
    parts = _PARTS.findall(token)
    if len(parts) > 1 and all(part.isdigit() or _PLAIN_WORD.match(part) for part in parts):
        return False  # words and numbers, as `production-eu-west-1` has
    return entropy(token.encode()) >= SECRET_ENTROPY and not token.isdigit()


def is_random(token: str) -> bool:
    """True for a secret that is longer than ids are: nothing else says that it is one."""
    return len(token) >= LONG_CHARS and _MIXED.search(token) is not None and is_secret(token)


def named_secrets(text: str) -> list[str]:
    """The values that a text calls a password, a token or the like."""
    return [value for sign, value in _NAMED.findall(text) if sign == "=" or not _WORD.match(value)]


def secrets(text: str, looks: Callable[[str], bool]) -> dict[str, str]:
    """The values of a text that look like a secret, by their letters and digits alone.

    Args:
        text: to be read.
        looks: says of a token whether it does.
    """
    by_letters: dict[str, str] = {}
    for token in tokens(text[:SECRET_TEXT]):
        if len(by_letters) >= MOST_SECRETS:
            break
        if "=" in token.rstrip("=") or _UUID.search(token):
            continue
        if _MIXED.search(token) and looks(token):
            by_letters[squeeze(token)] = token
    return {bare: token for bare, token in by_letters.items() if len(bare) >= TOKEN_CHARS}
