"""A filter for rows of the audit, as a person types it: `server:github,files -verdict:allow`.

All terms must fit. A comma means or, a minus in front means not, and words with blanks need quotes.
Words without a field are looked for in names and rules.
"""

from __future__ import annotations

import re

from pipeguard.errors import PipeGuardError
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.session.remedies import BY_RULE, Way
from pipeguard.records import NamedTuple
from pipeguard.state.schema import IS_NOTICED
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
# A damaged row has no findings, so that a search finds the others.
_EACH = "json_each(iif(json_valid(findings), findings, '[]'))"
_ANY_RULE = f"({IS_NOTICED} AND EXISTS (SELECT 1 FROM {_EACH} WHERE {{}}))"  # noqa: S608  a constant
_RULE = "json_extract(value, '$.rule')"
_OTHER = ", ".join(f"'{rule}'" for rule, way in BY_RULE.items() if way is not Way.APPROVE)
# The action of a row, or `HELD` if each rule that blocks it says so (remedies.is_held).
OUTCOME = (
    f"iif(action = 'block' AND (SELECT min({_RULE} GLOB 'trust.*' AND {_RULE} NOT IN ({_OTHER}))"  # noqa: S608  constants
    f" FROM {_EACH} WHERE json_extract(value, '$.action') = 'block'), '{HELD}', action)"
)
_NAMES = " || ' ' || ".join(
    ("server", "client", "method", "tool", "event", "kind", "coalesce(token, '')")
)
HAS_RULE = _ANY_RULE.format(f"{_RULE} = ? OR substr({_RULE}, 1, length(?) + 1) = ? || '.'")
_WOULD = "json_extract(value, '$.would')"
HAS_WOULD = _ANY_RULE.format(f"{_WOULD} IS NOT NULL AND ? IN ({_WOULD}, 'any')")
# Each field with its comparison; every `?` is the value.
_SQL = {
    "server": "(server {like} OR server IN (SELECT server FROM servers WHERE name {like}))",
    "tool": "tool {like}",
    "client": "instr(lower(client), lower(?)) > 0",
    "token": "coalesce(token, '') {like}",
    "verdict": f"{OUTCOME} = ?",
    "rule": HAS_RULE,
    "would": HAS_WOULD,
    "event": "event = ?",
    "kind": "kind {like}",
    "since": "time >= ?",
    "slower": "coalesce(duration_ms, -1) >= ?",
    "larger": "max(frame_bytes, coalesce(request_bytes, 0)) >= ?",
    "": f"instr(lower({_NAMES}), ?) > 0 OR {_ANY_RULE.format(f'instr(lower({_RULE}), ?) > 0')}",
}
FIELDS = tuple(name for name in _SQL if name)
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

    def __str__(self) -> str:
        words = ",".join(f'"{each}"' if re.search(r"[\s,]", each) else each for each in self.values)
        if not self.field and (self.values[0].startswith("-") or ":" in words):
            words = f'"{self.values[0]}"'
        return f"{'-' * self.is_not}{self.field}{':' * bool(self.field)}{words}"


class RowFilter(NamedTuple):
    """Conditions that must all fit."""

    terms: tuple[FilterTerm, ...] = ()

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))

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

    def to_sql(self) -> tuple[str, list[str | float]]:
        """The condition in SQL, and its values."""
        conditions = ["1" if self.fits_verdict("allow") else IS_NOTICED]
        given = list[str | float]()
        for term in self.terms:
            choices = []
            for value in term.values:
                has_star = "*" in value and "{like}" in _SQL[term.field]
                text = _SQL[term.field].format(like="GLOB ?" if has_star else "= ?")
                choices.append(f"({text})")
                given += [_convert(term.field, value, has_star=has_star)] * text.count("?")
            conditions.append(f"{'NOT ' * term.is_not}({' OR '.join(choices)})")
        return " AND ".join(conditions), given


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
    is_not, rest = word.startswith("-"), word.removeprefix("-")
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
        _convert(field, value, has_star=False)
    except ValueError:
        raise WrongFilterError(f"{field}: cannot be {show(value, 40)}.") from None
    return value


def _convert(field: str, value: str, *, has_star: bool) -> str | float:
    """The value to compare with the rows' values."""
    if has_star:
        return re.sub(r"[\[?]", r"[\g<0>]", value)
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
