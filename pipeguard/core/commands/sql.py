"""Statements for databases, one a line, without comments, quotes and what they quote.

Reads no grammar: it only tells what is data in a statement from what is not, so that a rule does
not take a word in a text column for an order. Knows no rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_LINE = 1500  # characters; of a longer statement there are several lines
OVERLAP = 200  # characters that stand in two of them

# A string, an identifier in quotes, a comment that MySQL runs, a comment, the end of a statement.
_TOKEN = re.compile(
    r"(?P<string>'(?:[^'\\]|''|\\.)*+'?)"
    r"|(?P<name>\"(?:[^\"]|\"\"){0,200}\"|`[^`]{0,200}`|\[[A-Za-z_][\w ]{0,60}\])"
    r"|(?P<run>/\*!\d{0,6}|\*/)"
    r"|(?P<comment>/\*.*?(?:\*/|\Z)|--[^\n]*+|\#[^\n]*+)"
    r"|(?P<dollar>\$(?P<tag>\w{0,20})\$.{0,20000}?(?:\$(?P=tag)\$|\Z))"
    r"|(?P<end>;)",
    re.DOTALL,
)
_STANDARD = re.compile(_TOKEN.pattern.replace(r"(?:[^'\\]|''|\\.)*+", r"(?:[^']|'')*+"), re.DOTALL)
_ALL = re.compile(
    r"(?:delete from|update) .* where "
    r"\(?(?:(\w+) ?= ?\1|true|1|not false|'_' ?(?:=|like) ?'_'|\d+ ?(?:<>|!=|<|>|=) ?\d+|"
    r"[\w.]+ ?= ?[\w.]+ or 1 ?= ?1|\w+ (?:is not null|like '_'))\)?\Z"
)


# What a session made for itself it may drop.
_SCRATCH = re.compile(
    r"(?:drop|truncate) (?:temporary |temp )?(?:table )?(?:if exists )?[\w]*\.?(?:tmp|temp|test|"
    r"scratch|staging|stg|#)_?\w*"
)


_BEGINS = re.compile(
    r"[\s(/*-]{0,20}(?:select|insert|update|delete|drop|truncate|alter|create|grant|revoke|copy|attach|"
    r"exec|load|merge|replace|call|do|set|use|with|match|optional|unwind|explain|describe|desc|show|"
    r"pragma|begin|commit|rollback|vacuum|analyze|declare|from|values|db\.|get|put|scan|hget|keys|"
    r"flush\w{2,4}|config|eval|\{|\[|query\b|mutation\b|subscription\b)",
    re.IGNORECASE,
)


def is_statement(text: str) -> bool:
    """True for what begins as a statement does; else it is a value that is looked for."""
    return _BEGINS.match(text) is not None


def statements(text: str) -> list[str]:
    """The lines, each `SQL` and a statement; `ALL` follows where it spares no row."""
    lines = _lines(_TOKEN.sub(_plain, text))
    if "\\'" in text:  # the quote ends a string where a backslash escapes none (ISO/IEC 9075-2)
        lines += _lines(_STANDARD.sub(_plain, text))
    return list(dict.fromkeys(lines))


def _lines(plain: str) -> list[str]:
    lines: list[str] = []
    for statement in plain.split(";"):
        words = " ".join(statement.split())
        if words:
            folded = words.lower()
            changes = folded.startswith(("delete", "update"))
            spared = " where " in folded and not _ALL.match(folded)
            kept = "SQL scratch" if _SCRATCH.match(folded) else "SQL"
            lines.append(f"{kept} {words[:MAX_LINE]}" + (" ALL" if changes and not spared else ""))
            lines += [f"{kept} {part}" for part in _later(words)]
    return lines


def _later(words: str) -> Iterator[str]:
    """What of a statement one line does not hold, each after the word that it begins with."""
    first = words[:20].partition(" ")[0]
    for at in range(MAX_LINE, len(words), MAX_LINE - OVERLAP):
        yield f"{first} {words[at - OVERLAP : at + MAX_LINE - OVERLAP]}"


def _plain(match: re.Match[str]) -> str:
    if match["string"] is not None:
        return "'_'"
    if match["name"] is not None:
        return " " + re.sub(r"\W", "_", match["name"][1:-1]) + " "
    if match["end"] is not None:
        return ";"
    if match["dollar"] is not None:
        return "'_'"
    return " "
