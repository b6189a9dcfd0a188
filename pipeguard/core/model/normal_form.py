"""The form in which models read a text, and which letters make a word. Knows no model."""

from __future__ import annotations

import re
import unicodedata

# Vowel signs of Devanagari are letters of their words; `\w` does not know them.
LETTERS = r"[^\W\d_](?:[^\W\d_]|[\u0900-\u0903\u093a-\u094f\u0955-\u0957\u0962\u0963])*"
IDEOGRAPH = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
FIRST_IDEOGRAPH = "\u3040"
LETTERS_READ = 256  # of a word; a longer one is no word, and would fill the memory
_TOKEN = re.compile(LETTERS + r"|\d+|[<>\[\]{}#:!?`\"|=*_-]")
_DROPPED = re.compile("[\u0300-\u036f\u0640\u064b-\u0652]")


def plain(text: str) -> str:
    """Small letters without accents, and without the marks of Arabic."""
    text = text.lower()
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _DROPPED.sub("", unicodedata.normalize("NFD", text)))


def words(text: str) -> list[str]:
    """The words of a text, each as far as it is read, and the signs between them that count."""
    found = _TOKEN.findall(text)
    if len(text) > LETTERS_READ:
        return [word[:LETTERS_READ] for word in found]
    return found
