"""Words of names, descriptions and queries, in the form in which they are compared.

Splits names at case, digits and separators, leaves out words that say nothing about a tool, and
knows what else developers call a thing (`thesaurus`). Stemming is in `stems`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from pipeguard.gateway.thesaurus import ABBREVIATIONS, SYNONYMS

MAX_WORD_CHARS = 40  # the longest in a dictionary of English has 45; what is longer is no word
MAX_QUERY_WORDS = 48  # of a query; whoever pastes a document asks with its beginning

_WORD = re.compile(r"[^\W_]+")
# The parts of a name: where a small letter is before a capital, where the last of several
# capitals begins a word (`HTTPServer`), and where letters and digits meet.
_PARTS = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\d)(?=[^\W\d])|(?<=[^\W\d])(?=\d)"
)

# What stands in a request to an agent and says nothing of which tool it takes.
STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        a about all also am an and any are as at be been by can could do does doing done for
        from give given go going had has have having he help her here him his how i if in into
        is it its just let lets like may me might must my need needs no not now of on one or our
        out please she should so some something that the their them then there these they thing
        things this those to tool tools up us use used uses using via want wants was we were
        what when where which while who whom why will with would you your
        """,
    )
)


def words_of(text: str) -> Iterator[str]:
    """Each word of a text in lower case, names in their parts: `listPullRequests2` has four."""
    for match in _WORD.finditer(unicodedata.normalize("NFKC", text)):
        for part in _PARTS.split(match[0]):
            if len(part) <= MAX_WORD_CHARS:
                yield part.casefold()


def spelled_out(text: str) -> Iterator[str]:
    """Each word of a request, abbreviations in full: `PR` has two."""
    for word in words_of(text):
        yield from ABBREVIATIONS.get(word, word).split()


def synonyms(word: str) -> tuple[str, ...]:
    """What else a thing or an action is called; empty where nothing else is known."""
    return SYNONYMS.get(word, ())
