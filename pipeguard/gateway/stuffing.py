"""Descriptions that are written for the search instead of for the reader.

A tool that repeats a keyword, lists very many, or repeats another server's name wants to be found
for other tools' tasks. The ranking gives nothing for that, and less to a tool that claims very many
actions (`concepts.ToolStems`); here a person is told. The limits are half again the maximum of the
927 tools of the 37 real servers in `benchmarks/search`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache

from pipeguard.firewall.finding import Action, Confidence, Finding, Severity
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.gateway.neighbours import STOP_WORDS, split_words
from pipeguard.gateway.tools import schema_words, to_text
from pipeguard.unicode.display import show

STUFFED, NAMED = "search.keyword-stuffing", "search.server-name-stuffing"
LEAST_WORD_COUNT, LEAST_WORD_SHARE = 8, 0.3  # real: 0.21 of the words of a text
LEAST_NAME_COUNT, LEAST_NAME_SHARE = 6, 0.25
LEAST_ITEMS = 40  # of a list of keywords in a description; real: 23
LEAST_WORD_CHARS = 3
MOST_CHARS = 20_000  # of a text that are looked at
MOST_ITEM_CHARS = 40
_SEPARATOR = re.compile(r"[,;|/•\n]")


def stuffing(definition: JsonObject, server: str, others: Iterable[str]) -> list[Finding]:
    """Find text in a tool's definition that is written for the search.

    Args:
        definition: of the tool.
        server: the name of its server.
        others: the names of other servers.
    """
    name = to_text(definition.get("name"))
    description = " ".join(to_text(definition.get(key)) for key in ("title", "description"))
    parameters = " ".join(schema_words(definition))
    findings: list[Finding] = []
    for place, text in (("tool.description", description), ("tool.parameters", parameters)):
        words = list(split_words(text[:MOST_CHARS]))
        named = _find_name(words, server, others)
        if named is not None:
            note = f"the name of the server {named} is repeated"
            findings.append(_finding(NAMED, place, name, note))
        else:
            findings += (_finding(STUFFED, place, name, note) for note in _find_repeated(words))
    if _longest_list(description[:MOST_CHARS]) >= LEAST_ITEMS:
        note = f"more than {LEAST_ITEMS} keywords are listed"
        findings.append(_finding(STUFFED, "tool.description", name, note))
    return findings


def _longest_list(text: str) -> int:
    """The longest run of short items."""
    longest = count = 0
    for item in _SEPARATOR.split(text):
        is_short = 0 < len(item.strip()) <= MOST_ITEM_CHARS and ". " not in item
        count = count + 1 if is_short else 0
        longest = max(longest, count)
    return longest


def _find_repeated(words: list[str]) -> Iterator[str]:
    """The word that makes up far too much of a text, in a sentence."""
    counts = Counter(
        word for word in words if len(word) >= LEAST_WORD_CHARS and word not in STOP_WORDS
    )
    for word, count in counts.most_common(1):
        if count >= LEAST_WORD_COUNT and count >= LEAST_WORD_SHARE * len(words):
            yield f"{show(word, 40)} is {count} of {len(words)} words"


def _find_name(words: list[str], server: str, others: Iterable[str]) -> str | None:
    """The other server whose name makes up far too much of a text."""
    if len(words) < LEAST_NAME_COUNT:
        return None
    text, own = _space_words(words), _phrase(server)
    for other in others:
        phrase = _phrase(other)
        if not phrase or phrase in own or own in phrase:
            continue  # `git` and `git-work` are about the same
        count = text.count(phrase)
        share = count * len(phrase.split()) / len(words)
        if count >= LEAST_NAME_COUNT and share >= LEAST_NAME_SHARE:
            return other
    return None


@lru_cache(maxsize=1024)
def _phrase(name: str) -> str:
    return _space_words(split_words(name))


def _space_words(words: Iterable[str]) -> str:
    """A text of words separated by doubled blanks, so that only whole words are found."""
    return "".join(f" {word} " for word in words)


def _finding(rule: str, place: str, tool: str, note: str) -> Finding:
    return Finding(
        rule,
        place,
        severity=Severity.MEDIUM,
        confidence=Confidence.MEDIUM,
        action=Action.WARN,
        note=note,
        tool=tool,
    )
