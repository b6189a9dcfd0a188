"""A filter for rows of the audit, as a person types it: `server:github,files -verdict:allow`.

All terms must fit. A comma means or, a minus in front means not, and words with blanks need quotes.
Words without a field are looked for in names and rules. Knows no SQL: `row_conditions` does.
"""

from __future__ import annotations

import re

from pipeguard.errors import PipeGuardError
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.records import NamedTuple
from pipeguard.state.timestamps import parse_moment
from pipeguard.unicode.display import show, suggestion

HELD = "held"  # instead of `block`, for messages that wait for a person
MOST_CHARS = 500  # of a filter
MOST_TERMS = 20
ACTIONS = (
    *("allow", "warn", "redact", "cut", "ask", "block", HELD),
    *("approve", "reject", "forget", "revoke", "propose", "withdraw", "prune"),
    *("create", "rotate"),
)
WOULD = ("any", "redact", "cut", "ask", "block")
FIELDS = (
    "server",
    "tool",
    "client",
    "token",
    "verdict",
    "rule",
    "would",
    "event",
    "kind",
    "since",
    "slower",
    "larger",
)
_WORD = lazy_regex(r'(?:[^\s"]|"[^"]*")+')
_DURATION = lazy_regex(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m)")
_SIZE = lazy_regex(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(b|kb|mb)", re.IGNORECASE)
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "b": 1, "kb": 1000, "mb": 10**6}


_EVENT = lazy_regex(r"([0-9a-z]{8})((?:\.[0-9]+)?\.[a-z][0-9]+(?:\.[0-9]+)?)", re.IGNORECASE)


class WrongFilterError(PipeGuardError):
    """A filter with a term that does not exist."""


class FilterTerm(NamedTuple):
    """One condition.

    Attributes:
        field: to compare; empty for a plain word.
        values: of which one must fit.
        is_not: whether none may fit instead.
    """

    field: str
    values: tuple[str, ...]
    is_not: bool


class RowFilter(NamedTuple):
    """Conditions that must all fit."""

    terms: tuple[FilterTerm, ...] = ()

    def find_values(self, field: str) -> tuple[str, ...]:
        """The values of a field, from the conditions that are not exclusions."""
        return tuple(
            value
            for term in self.terms
            if term.field == field and not term.is_not
            for value in term.values
        )

    def fits_verdict(self, action: str) -> bool:
        """True if the conditions about the verdict allow this one."""
        return all(
            (action in term.values) != term.is_not for term in self.terms if term.field == "verdict"
        )


def spell_event(name: str) -> str:
    """An event's name with the letters' case that the audit has; empty if it cannot be one."""
    found = _EVENT.fullmatch(name)
    return found[1].upper() + found[2].lower() if found else ""


def parse_filter(text: str) -> RowFilter:
    """Read a filter.

    Raises:
        WrongFilterError: a term does not exist; the error lists the possible ones.
    """
    text = text.encode("utf-8", "replace").decode()  # a lone surrogate is in no row
    if len(text) > MOST_CHARS:
        raise WrongFilterError(f"A filter has at most {MOST_CHARS} characters.")
    if text.count('"') % 2:
        raise WrongFilterError("A quotation mark has no second one.")
    words = _WORD.findall(text)
    if len(words) > MOST_TERMS:
        raise WrongFilterError(f"A filter has at most {MOST_TERMS} parts.")
    return RowFilter(tuple(map(_parse_term, words)))


def _parse_term(word: str) -> FilterTerm:
    is_not = word.startswith("-")
    rest = word.removeprefix("-")
    plain = rest.replace('"', "")
    if not plain:
        raise WrongFilterError(f"{show(word, 20)} says nothing: a word or a field belongs there.")
    name, colon, values = rest.partition(":")
    if not colon or '"' in name:
        return FilterTerm("", (plain,), is_not)
    if name not in FIELDS:
        near = suggestion(name, FIELDS, listed=True)
        fields = ", ".join(FIELDS)
        raise WrongFilterError(
            f"There is no field {show(name, 40) or 'without a name'}.{near} Available: {fields}."
            " Quotes hold a word with a colon."
        )
    parts = [part.replace('"', "") for part in re.findall(r'(?:[^,"]|"[^"]*")+', values)]
    if not parts or not all(parts):
        raise WrongFilterError(f"{name}: needs a value.")
    return FilterTerm(name, tuple(_check(name, part) for part in parts), is_not)


def _check(field: str, value: str) -> str:
    """A value, if the field can have it."""
    words = {"verdict": ACTIONS, "would": WOULD}.get(field)
    value = "ask" if words and value == "asks" else value
    if words and value not in words:
        near = suggestion(value, words, listed=True)
        choices = ", ".join(words)
        raise WrongFilterError(f"{field}: is one of {choices}, not {show(value, 40)}.{near}")
    try:
        convert_value(field, value)
    except ValueError:
        raise WrongFilterError(f"{field}: cannot be {show(value, 40)}.") from None
    return value


def convert_value(field: str, value: str) -> str | float:
    """The value to compare with the rows' values.

    Raises:
        ValueError: the field cannot have it.
    """
    if field == "since":
        return parse_moment(value)
    if field == "event":
        return spell_event(value) or value
    if field in {"slower", "larger"}:
        found = (_DURATION if field == "slower" else _SIZE).fullmatch(value)
        if found is None:
            raise ValueError(value)
        return float(found[1]) * _UNITS[found[2].lower()]
    return value.removesuffix(".*") if field == "rule" else value if field else value.lower()
