"""Values in a text: tokens, names, people, addresses. Knows their looks, and no tool."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeguard.detect.checks.credential_names import is_credential_name
from pipeguard.detect.text.document import MessageText
from pipeguard.detect.words.arguments import AMOUNTS
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, walk_texts

TOKEN_CHARS = 12  # shorter tokens are in two texts by chance
MIN_NAME_CHARS = 8  # of a name that a text gives to a model
SHORT_CHARS = 100  # of a short value
MOST_WORDS = 64

_TOKEN = lazy_regex(rf"[A-Za-z0-9_@.+/=-]{{{TOKEN_CHARS},256}}")
_PLAIN = lazy_regex(rf"[A-Za-z0-9_-]{{{TOKEN_CHARS},256}}")
_NAME = lazy_regex(rf"[A-Za-z0-9_@.+/=-]{{{MIN_NAME_CHARS},256}}")
_PHONE = lazy_regex(r"\+(?:[ ()./-]?\d){8,15}\b")  # ITU-T E.123; without the `+`, dates look so
_PERSON = lazy_regex(r"\b[^\W\d_a-z][^\W\d_A-Z]+(?: [^\W\d_a-z][^\W\d_A-Z]+){1,2}\b")
_RUN = lazy_regex(r"[A-Za-z0-9_%+-]+")
_MAILBOX = lazy_regex(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
# RFC 1321, FIPS 180-4.
_DIGEST = lazy_regex(r"\b(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{128})\b", re.IGNORECASE)
_URL = lazy_regex(r"https?://[^\s\"'<>)\]]{1,8192}", re.IGNORECASE)
_SHORT_VALUE = lazy_regex(rf"(?=.{{0,99}}[0-9@#/])\S{{3,{SHORT_CHARS}}}")
_AMOUNT = lazy_regex("|".join(AMOUNTS), re.IGNORECASE)
_NO_VALUES: frozenset[str] = frozenset()


def tokens(text: str) -> Iterator[str]:
    """Runs of letters and digits, with and without what may be in a value or before it.

    Telephone numbers come whole.
    """
    yield from phone_numbers(text)
    for token in _TOKEN.findall(text):
        yield token
        _, equals, value = token.partition("=")
        if equals and len(value) >= TOKEN_CHARS:
            yield value
        yield from (part for part in _PLAIN.findall(token) if part != token)


def is_telling(token: str) -> bool:
    """True for a token that two texts do not share by chance."""
    return any(map(str.isdigit, token)) or "@" in token


def names(text: str) -> Iterator[str]:
    """What a call names: an account, an address, a branch; no plain words."""
    for name in _NAME.findall(text):
        bare = name.strip(".-/=")
        if len(bare) >= MIN_NAME_CHARS and not bare.isalpha():
            yield bare


def long_words(text: str) -> list[str]:
    """The longer words of a text, in small letters."""
    return list(dict.fromkeys(re.findall(r"[a-z_]{6,40}", text.lower())))[:MOST_WORDS]


def people(text: str) -> set[str]:
    """What looks like a person's name: words that begin with capitals, in small letters."""
    return {name.lower() for name in _PERSON.findall(text)}


def longest_run(text: str) -> str:
    """The longest run of characters that values are written with, which may be part of one."""
    return max(_RUN.findall(text), key=len, default="")


def phone_numbers(text: str) -> list[str]:
    """The telephone numbers in a text."""
    return _PHONE.findall(text)


def mailboxes(text: str) -> set[str]:
    """The mail addresses in a text."""
    return set(_MAILBOX.findall(text))


def addresses(text: str) -> list[str]:
    """The web addresses in a text."""
    return _URL.findall(text)


def addresses_of(value: JsonValue) -> list[str]:
    """The web addresses in all strings of a JSON value."""
    if not any("//" in text for text in walk_texts(value)):
        return []
    return addresses(MessageText(value, keyed=False).data.decode("utf-8", "ignore"))


def digests(text: str) -> list[str]:
    """The digests in a text, of the usual lengths: a tool that verifies one repeats it."""
    return _DIGEST.findall(text)


def short_values(value: JsonValue) -> frozenset[str]:
    """The short values in a JSON value: ids, names, addresses; no plain words, and no amounts."""
    if isinstance(value, dict):
        named = (item for key, item in value.items() if not _AMOUNT.search(key[:SHORT_CHARS]))
        return _NO_VALUES.union(*map(short_values, named))
    if isinstance(value, list):
        return _NO_VALUES.union(*map(short_values, value))
    text = str(value).strip()
    if len(text) > SHORT_CHARS:  # small letters are no fewer
        return _NO_VALUES
    text = text.lower()
    return frozenset({text}) if _SHORT_VALUE.fullmatch(text) else _NO_VALUES


def without_credentials(value: JsonValue) -> JsonValue:
    """The arguments without those that are made for a credential."""
    if isinstance(value, dict):
        return {
            key: without_credentials(item)
            for key, item in value.items()
            if not is_credential_name(key)
        }
    return [without_credentials(item) for item in value] if isinstance(value, list) else value


def is_outside(value: str) -> bool:
    """True for a value of a call that names an address, or says that everybody may see it."""
    return "public" in value or value.startswith(("http://", "https://"))
