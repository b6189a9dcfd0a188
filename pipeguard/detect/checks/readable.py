"""The share of a supposed secret that reads as words, and clauses of a sentence. Knows no rule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache

from pipeguard.detect.checks.outcome import Check, Outcome, to_outcome
from pipeguard.firewall.lazy_regex import lazy_regex

LONG_TOKEN = 36  # characters; a shorter one has too few words to tell


def readable_chars(body: bytes) -> int:
    """Count the characters that are in what reads as words."""
    runs = (run.lower() for run in re.findall(rb"[A-Z]?[a-z]{3,}|[A-Z]{4,}", body))
    return sum(len(run) for run in runs if _is_word(run, share=0.6))


@lru_cache(maxsize=4)  # a match is rated as a secret, and then as a sample
def reads_as_words(body: bytes, pattern: str) -> bool:
    """True for a long text that was put together from words, rather than drawn at random.

    Words that the rule's pattern asks for do not count. Of 5,000 random texts of 36 to 120
    characters 0.1 to 4 % read so, most of them of small letters alone.
    """
    if len(body) < LONG_TOKEN:
        return False
    expected = pattern.lower().encode()
    runs = [run.lower() for run in re.findall(rb"[A-Z]?[a-z]{4,}|[A-Z]{5,}", body)]
    words = [run for run in runs if run not in expected and _is_word(run, share=0.8)]
    has_no_digit = "0-9" in pattern and len(body) >= 40 and not re.search(rb"[0-9]", body)
    return len(words) > 1 or 5 * readable_chars(body) >= 2 * len(body) or has_no_digit


def _is_word(run: bytes, share: float) -> bool:
    """True where that share of its pairs of letters is common."""
    pairs = len(run) - 1
    return sum(run[at : at + 2] in _common_pairs() for at in range(pairs)) >= share * pairs


@cache
def _common_pairs() -> frozenset[bytes]:
    from pipeguard.detect.words import english

    return frozenset(map(str.encode, english.LETTER_PAIRS))


def has_date(body: bytes) -> bool:
    """True where a text contains a date or a time of day."""
    return _DATE_OR_TIME.search(body) is not None


_DATE_OR_TIME = lazy_regex(rb"(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]|[0-9]{2}:[0-9]{2}:[0-9]{2}")
_EARLIER = (
    "previous(?:ly)?|prior|earlier|preceding|former|past|existing|original|initial|old|older|first"
)
_RULES = "commands?|rules?|polic(?:y|ies)|prompts?|constraints?|restrictions?|orders?"
# What an order to a model drops: its own instructions, its user's, or everything.
_OWN = "your|safety|developer|above|user|everything|anything|instructions?|guid(?:elines?|ance)"
# "discard requests while an old command": what runs is named in a clause, and not dropped.
_CLAUSE = lazy_regex(
    rf"(?i)(?:(?!\b(?:{_EARLIER}|{_OWN}|{_RULES})\b)[^.!?])*"
    r"\b(?:while|when|whenever|until|if|once|after|before)\s+(?:the\s+|an?\s+)?"
    rf"(?:{_EARLIER})\s+(?:{_RULES})".encode()
)


def _not_clause(text: bytes) -> Outcome:
    """FAILS where an earlier command or rule is only named in a clause of time or condition."""
    return to_outcome(_CLAUSE.fullmatch(text) is None)


CHECKS: Mapping[str, Check] = {"not-clause": _not_clause}
