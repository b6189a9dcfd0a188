"""Statements for databases, one a line, without comments and with `'_'` for each string.

Reads no grammar: it only tells data from the rest of a statement, so that a rule takes no word in a
text column for an order. Of a value, it tells what would be outside the string that a server puts
it in. Knows no rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeguard.firewall.lazy_regex import lazy_regex

MAX_LINE = 1500  # characters; a longer statement has several lines
OVERLAP = 200  # characters that are in two of them

# A string, an identifier in quotes, a comment that MySQL runs, a comment, a string between dollars
# (PostgreSQL), the end of a statement.
_TOKEN = lazy_regex(
    r"(?P<string>'(?:[^'\\]|''|\\.)*+'?)"
    r"|(?P<name>\"(?:[^\"]|\"\"){0,200}\"|`[^`]{0,200}`|\[[A-Za-z_][\w ]{0,60}\])"
    r"|(?P<run>/\*!\d{0,6}|\*/)"
    r"|(?P<comment>/\*.*?(?:\*/|\Z)|--[^\n]*+|\#[^\n]*+)"
    r"|(?P<dollar>\$(?P<tag>\w{0,20})\$.{0,20000}?(?:\$(?P=tag)\$|\Z))"
    r"|(?P<end>;)",
    re.DOTALL,
)
# The same where a backslash escapes no quote (ISO/IEC 9075-2).
_STANDARD_TOKEN = lazy_regex(
    _TOKEN.pattern.replace(r"(?:[^'\\]|''|\\.)*+", r"(?:[^']|'')*+"), re.DOTALL
)
# A statement whose condition is true for every row.
_AFFECTS_ALL = lazy_regex(
    r"(?:delete from|update) .* where "
    r"\(?(?:(\w+) ?= ?\1|true|1|not false|'_' ?(?:=|like) ?'_'|\d+ ?(?:<>|!=|<|>|=) ?\d+|"
    r"[\w.]+ ?= ?[\w.]+ or 1 ?= ?1|\w+ (?:is not null|like '_'))\)?\Z"
)
# A table that a session made for itself, which it may drop.
_SCRATCH = lazy_regex(
    r"(?:drop|truncate) (?:temporary |temp )?(?:table )?(?:if exists )?[\w]*\.?(?:tmp|temp|test|"
    r"scratch|staging|stg|#)_?\w*"
)
_BEGINS = lazy_regex(
    r"(?:\s*+(?:/\*(?:[^*]|\*(?!/))*+\*/|(?:--|#)[^\n]*+\n))*+[\s(/*-]{0,20}"  # comments before it
    r"(?:select|insert|update|delete|drop|truncate|alter|create|grant|revoke|copy|attach|exec|load|"
    r"merge|replace|call|do|set|use|with|match|optional|unwind|explain|describe|desc|show|"
    r"pragma|begin|commit|rollback|vacuum|analyze|declare|from|values|db\.|get|put|scan|hget|keys|"
    r"flush\w{2,4}|config|eval|\{|\[|query\b|mutation\b|subscription\b)",
    re.IGNORECASE,
)
_STRING = lazy_regex(r"'(?:[^']|'')*+'?|\"(?:[^\"]|\"\")*+\"?")
# A value up to the quote that ends the string around it: a doubled one does not, nor does one
# behind a backslash in some databases, and in all that have strings in double quotes.
_CLOSINGS = [
    (quote, lazy_regex(rf"(?:{text}|{quote}{quote})*+{quote}", re.DOTALL))
    for quote, text in (("'", r"[^']++"), ("'", r"[^'\\]++|\\."), ('"', r'[^"\\]++|\\.'))
]
# What a statement does with the string before it goes on: an operator and an operand.
_APPLIED = lazy_regex(
    r"(?:[=<>!+*/%^|&~@:-]{1,3}\s?\(*\s?[+~-]?(?:\w*\(?'_|\d|\w+\()|::\w|is (?:not )?(?:null|'_)|"
    r"(?:not )?(?:like|glob|regexp|rlike|similar to|between|in)\s?\(*\s?'_|(?:limit|offset) \d|'_'|"
    r"for update|(?:order|group) by |(?:escape|collate|returning|div|mod|at time zone)\s).*?"
    r"(?=--|#|/\*|;|\|\||&&|\b(?:or|and|xor|union|intersect|except|minus|having)\b)",
    re.IGNORECASE,
)
_COMMENT = lazy_regex(r"\s*(?:--|#|/\*)")
_TAG = lazy_regex(r"#\w")
_JOINS = lazy_regex(r"\s*(?:or|and|\|\||&&)\s*", re.IGNORECASE)
_BEHIND_JOINED = lazy_regex(r"\s?(?:[)&,\].]|\+\s?[A-Za-z_]|\Z)")
_BEFORE_STRING = tuple("([{=,:>+&")


def is_statement(text: str) -> bool:
    """True for a text that begins as a statement does; another one is a term to search for."""
    return _BEGINS.match(text) is not None


def statements(text: str) -> list[str]:
    """A line `SQL statement` for each; `ALL` follows where it changes or deletes every row."""
    lines = _lines(_TOKEN.sub(_replacement, text))
    if "\\'" in text:  # databases differ in whether this quote ends a string
        lines += _lines(_STANDARD_TOKEN.sub(_replacement, text))
    return list(dict.fromkeys(lines))


def breakout_lines(value: str) -> list[str]:
    """The lines of a value that may go on as a statement.

    `VAL text` is the value, and `OUT text` what would be outside the string that it is put in.
    """
    value = " ".join(value.split())
    outside: list[str] = []
    for quote, closing in _CLOSINGS:
        end = match.end() if quote in value and (match := closing.match(value)) else len(value)
        rest = value[end:]
        if rest and not _is_own_string(value[: end - 1], quote, rest):
            rest = _STRING.sub(_mask, rest).lstrip(") ")
            at = match.end() if (match := _APPLIED.match(rest)) else 0
            outside.append(f"OUT {rest[at : at + MAX_LINE]}")
    return [f"VAL {value}", *dict.fromkeys(outside)]


def _is_own_string(before: str, quote: str, rest: str) -> bool:
    """True where a quote begins a string in the value, such as `("#top")` and `+ " or "`.

    What begins so can also end a string, so it is believed of few forms, and of more of those in
    double quotes, which few databases have strings in.
    """
    if quote not in rest:
        return before.endswith("!") and rest.startswith("#$%&")  # characters in their order
    text, _, more = rest.partition(quote)
    is_word = before.endswith(" ")
    before = before.rstrip()
    is_inside = before.endswith(_BEFORE_STRING)
    if _COMMENT.match(rest):
        if quote == '"':
            return is_inside or is_word or not before
        return before.endswith(("(", "[")) or (is_inside and _TAG.match(rest) is not None)
    if not _JOINS.fullmatch(text) or not _BEHIND_JOINED.match(more):
        return False
    if quote == '"':
        return is_inside or not before
    return quote not in more and before.endswith(("(", "&", "+"))


def _mask(match: re.Match[str]) -> str:
    """`'_'` for a string, without its last quote where that is missing."""
    text = match[0]
    return "'_'" if len(text) > 1 and text[-1] == text[0] else "'_"


def _lines(text: str) -> list[str]:
    lines: list[str] = []
    for statement in text.split(";"):
        words = " ".join(statement.split())
        if words:
            folded = words.lower()
            changes = folded.startswith(("delete", "update"))
            spares_rows = " where " in folded and not _AFFECTS_ALL.match(folded)
            head = "SQL scratch" if _SCRATCH.match(folded) else "SQL"
            lines.append(
                f"{head} {words[:MAX_LINE]}" + (" ALL" if changes and not spares_rows else "")
            )
            lines += [f"{head} {part}" for part in _later_parts(words)]
    return lines


def _later_parts(words: str) -> Iterator[str]:
    """The rest of a statement that is too long for one line, each part after its first word."""
    first = words[:20].partition(" ")[0]
    for at in range(MAX_LINE, len(words), MAX_LINE - OVERLAP):
        yield f"{first} {words[at - OVERLAP : at + MAX_LINE - OVERLAP]}"


def _replacement(match: re.Match[str]) -> str:
    """Rewrite a token: a string `'_'`, a name in quotes one word, a comment a space."""
    if match["string"] is not None:
        return "'_'"
    if match["name"] is not None:
        return " " + re.sub(r"\W", "_", match["name"][1:-1]) + " "
    if match["end"] is not None:
        return ";"
    if match["dollar"] is not None:
        return "'_'"
    return " "
