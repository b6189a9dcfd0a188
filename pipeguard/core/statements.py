"""Statements for databases, one a line, without comments, quotes and what they quote.

Reads no grammar: it only tells what is data in a statement from what is not, so that a rule does
not take a word in a text column for an order. Knows no rules.
"""

from __future__ import annotations

import re

MAX_TEXT = 65_536  # characters
MAX_LINE = 1500
MAX_STATEMENTS = 500

# A string, an identifier in quotes, a comment that MySQL runs, a comment, the end of a statement.
_TOKEN = re.compile(
    r"(?P<string>'(?:[^'\\]|''|\\.){0,20000}'?)"
    r"|(?P<name>\"(?:[^\"]|\"\"){0,200}\"|`[^`]{0,200}`|\[[A-Za-z_][\w ]{0,60}\])"
    r"|(?P<run>/\*!\d{0,6}|\*/)"
    r"|(?P<comment>/\*.*?(?:\*/|\Z)|--[^\n]{0,20000}|\#[^\n]{0,20000})"
    r"|(?P<dollar>\$(?P<tag>\w{0,20})\$.{0,20000}?(?:\$(?P=tag)\$|\Z))"
    r"|(?P<end>;)",
    re.DOTALL,
)
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
    text = text[:MAX_TEXT]
    plain = _TOKEN.sub(_plain, text)
    lines: list[str] = []
    for statement in plain.split(";")[:MAX_STATEMENTS]:
        words = " ".join(statement.split())[:MAX_LINE]
        if words:
            folded = words.lower()
            changes = folded.startswith(("delete", "update"))
            spared = " where " in folded and not _ALL.match(folded)
            kept = "SQL scratch" if _SCRATCH.match(folded) else "SQL"
            lines.append(f"{kept} {words}" + (" ALL" if changes and not spared else ""))
    return lines


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
