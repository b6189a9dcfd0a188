"""Statements for databases, one a line, without comments and with `'_'` for each string.

Has no grammar: it only separates data from the rest of a statement, so that a rule takes no word in
a text column for an order. For a value, it finds the part that would be outside the server's string
around it. Knows no rules.
"""

import re

from pipeguard.detect.words import programs
from pipeguard.firewall.lazy_regex import lazy_regex

MAX_LINE = 1500  # characters; a longer statement has several lines
OVERLAP = 200  # characters shared by two of them

# An identifier in quotes, a comment that MySQL runs, a comment, a string between dollars
# (PostgreSQL), the end of a statement.
_NO_STRING = (
    r"""|(?P<name>\"(?:[^\"]|\"\"){0,200}\"|`[^`]{0,200}`|\[[A-Za-z_][\w ]{0,60}\])"""
    r"|(?P<run>/\*!\d{0,6}|\*/)|(?P<comment>/\*.*?(?:\*/|\Z)|--[^\n]*+|\#[^\n]*+)"
    r"|(?P<dollar>\$(?P<tag>\w{0,20})\$.{0,20000}?(?:\$(?P=tag)\$|\Z))|(?P<end>;)"
)
# These, or a string.
_TOKEN = lazy_regex(r"(?P<string>'(?>(?>(?:[^'\\]++|''|\\.){1,500})*)'?)" + _NO_STRING, re.DOTALL)
# The same for databases in which a backslash escapes no quote (ISO/IEC 9075-2).
_STANDARD_TOKEN = lazy_regex(
    r"(?P<string>'(?>(?>(?:[^']++|''){1,500})*)'?)" + _NO_STRING, re.DOTALL
)
# A statement whose condition is true for every row.
_AFFECTS_ALL = lazy_regex(
    r"""(?x)(?:delete\x20from|update)\x20.*\x20where\x20\(?(?:
    (\w+)\x20?=\x20?\1 | true | 1 | not\x20false | '_'\x20?(?:=|like)\x20?'_'
    | \d+\x20?(?:<>|!=|<|>|=)\x20?\d+ | [\w.]+\x20?=\x20?[\w.]+\x20or\x201\x20?=\x20?1
    | \w+\x20(?:is\x20not\x20null|like\x20'_')
    )\)?\Z""",
)
# A table that a session made for itself, which it may drop.
_SCRATCH = lazy_regex(
    r"(?:drop|truncate) (?:temporary |temp )?(?:table )?(?:if exists )?[\w]*\.?(?:tmp|temp|test|"
    r"scratch|staging|stg|#)_?\w*"
)
_BEGINS = lazy_regex(
    r"(?i)(?>(?>(?:\s*+(?:/\*(?>(?>(?:[^*]++|\*(?!/)){1,500})*)\*/|(?:--|#)[^\n]*+\n)){1,500})*)"
    r"[\s(/*-]{0,20}"  # comments before it
    rf"(?:{programs.alternatives('SQL_BEGINS')}|db\.|flush\w{{2,4}}|[{{\[]"
    r"|(?:query|mutation|subscription)\b)",
)
_STRING = lazy_regex(r"'(?>(?>(?:[^']++|''){1,500})*)'?|\"(?>(?>(?:[^\"]++|\"\"){1,500})*)\"?")
# A value up to the quote that ends the string around it. A doubled quote does not. A quote behind
# a backslash does in some databases; in double quotes, it is taken for JSON in JSON.
_CLOSINGS = [
    (quote, lazy_regex(rf"(?s)(?>(?>(?:{text}|{quote}{quote}){{1,500}})*){quote}"))
    for quote, text in (("'", r"[^']++"), ("'", r"[^'\\]++|\\."), ('"', r'[^"\\]++|\\.'))
]
# What may follow the string that a value is put in: an operator and its operand, or a clause.
_APPLIED = lazy_regex(
    r"""(?ix)(?:
    [=<>!+*/%^|&~@:-]{1,3}\s?\(*\s?[+~-]?(?:\w*\(?'_|\d|\w+\() | ::\w | (?:is|not)?null\b
    | is\x20(?:not\x20)?(?:null|true|false|distinct\x20from|'_) | (?:not\x20)?in\s?\(
    | (?:limit|offset)\x20\d | '_'
    | (?:not\x20)?(?:like|glob|match|regexp|rlike|similar\x20to|between|in)\s?\(*\s?'_
    | for\x20update | (?:order|group)\x20by\x20
    | (?:escape|collate|returning|div|mod|at\x20time\x20zone)\s
    ).*?
    (?=--|\#|/\*|;|\|\||&&|\b(?:or|and|xor|union|intersect|except|minus|having)\b)""",
)
_COMMENT = lazy_regex(r"\s*(?:--|#|/\*)")
_TAG = lazy_regex(r"#\w|#[\w-]*'")
_JOINS = lazy_regex(r"\s*(?:or|and|\|\||&&)\s*", re.IGNORECASE)
_WHOLE_TAG = lazy_regex(r"#[\w-]*'")
_BEHIND_JOINED = lazy_regex(r"\s?(?:[)&,\]]|\.[A-Za-z_]|\+\s?[A-Za-z_]|\Z)")
_BEFORE_STRING = tuple("([{=,:>+&")


def is_statement(text: str) -> bool:
    """True for a text that begins like a statement; any other text is a search term."""
    return _BEGINS.match(text) is not None


def read_statements(text: str) -> list[str]:
    """A line `SQL statement` for each; with `ALL` if it changes or deletes every row."""
    lines = _lines(_TOKEN.sub(_replacement, text))
    if "\\'" in text:  # databases differ in whether this quote ends a string
        lines += _lines(_STANDARD_TOKEN.sub(_replacement, text))
    return list(dict.fromkeys(lines))


def breakout_lines(value: str) -> list[str]:
    """The lines of a value that may continue as a statement.

    `VAL text` is the value, and `OUT text` the part that would be outside the string around it.
    """
    value = " ".join(value.split())
    outside = []
    for quote, closing in _CLOSINGS:
        closed = closing.match(value) if quote in value else None
        if closed is None:
            continue
        rest = value[closed.end() :]
        if rest and not _is_own_string(value[: closed.end() - 1], quote, rest):
            rest = _STRING.sub(_mask, rest).lstrip(") ")
            applied = _APPLIED.match(rest)
            at = applied.end() if applied else 0
            outside.append(f"OUT {rest[at : at + MAX_LINE]}")
    return [f"VAL {value}", *dict.fromkeys(outside)]


def _is_own_string(before: str, quote: str, rest: str) -> bool:
    """True if a quote begins a string in the value, such as `("#top")` and `+ " or "`.

    An attacker can write these forms too, so few are believed; more in double quotes, which few
    databases use for strings. Strings that only `or` joins are true only if they begin like a
    number, so the text after them decides.
    """
    if quote not in rest:
        return before.endswith("!") and rest.startswith("#$%&")  # characters in their order
    is_word = before.endswith(" ")
    before = before.rstrip()
    is_inside = before.endswith(_BEFORE_STRING)
    if _COMMENT.match(rest):
        if quote == '"':
            return is_inside or is_word or not before
        is_tag = _TAG.match(rest) if is_inside else is_word and _WHOLE_TAG.match(rest)
        return before.endswith(("(", "[")) or bool(is_tag)
    parts = rest.split(quote)
    joined = parts[::2]
    behind = parts[1::2]
    return all(map(_JOINS.fullmatch, joined)) and all(map(_BEHIND_JOINED.match, behind))


def _mask(match: re.Match[str]) -> str:
    """`'_'` for a string, without its last quote if that is missing."""
    text = match[0]
    return "'_'" if len(text) > 1 and text[-1] == text[0] else "'_"


def _lines(text: str) -> list[str]:
    lines = []
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
            # The rest of a statement that is too long for one line, each part after its first word.
            first = words[:20].partition(" ")[0]
            steps = range(MAX_LINE - OVERLAP, len(words) - OVERLAP, MAX_LINE - OVERLAP)
            lines += [f"{head} {first} {words[at : at + MAX_LINE]}" for at in steps]
    return lines


def _replacement(match: re.Match[str]) -> str:
    """Rewrite a token: a string becomes `'_'`, a quoted name one word, a comment a space."""
    if match["name"] is not None:
        return " " + re.sub(r"\W", "_", match["name"][1:-1]) + " "
    if match["end"] is not None:
        return ";"
    return " " if match["string"] is None and match["dollar"] is None else "'_'"
