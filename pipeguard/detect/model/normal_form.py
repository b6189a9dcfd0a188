"""The form in which models read a text, and what they take for a word. Knows no model."""

from __future__ import annotations

import unicodedata

from pipeguard.firewall.lazy_regex import lazy_regex

# Vowel signs of Devanagari are letters of their words; `\w` does not know them.
LETTERS = r"[^\W\d_](?:[^\W\d_]|[\u0900-\u0903\u093a-\u094f\u0955-\u0957\u0962\u0963])*"
IDEOGRAPH = lazy_regex(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
FIRST_IDEOGRAPH = "\u3040"
LETTERS_READ = 256  # of a word; a longer one is no real word, and would fill the memory
_TOKEN = lazy_regex(LETTERS + r"|\d+|[<>\[\]{}#:!?`\"|=*_-]")
_DROPPED = lazy_regex("[\u0300-\u036f\u0640\u064b-\u0652]")


def plain(text: str) -> str:
    """The text in lower case, without accents and without the marks of Arabic."""
    text = text.lower()
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _DROPPED.sub("", unicodedata.normalize("NFD", text)))


def words(text: str) -> list[str]:
    """The words, numbers and significant signs of a text; a word ends after LETTERS_READ."""
    tokens = _TOKEN.findall(text)
    if len(text) > LETTERS_READ:
        return [word[:LETTERS_READ] for word in tokens]
    return tokens
