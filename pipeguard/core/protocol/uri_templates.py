"""Which URIs a template expands to (RFC 6570, levels 1 to 4). Opens none, and asks nobody."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from pipeguard.core.protocol.uris import ENCODED, hides, normal

MOST_CHARS = 8192  # of a URI that a template is compared with; RFC 9110, 4.1 asks for 8000
MOST_TEMPLATE_CHARS = 2048
MOST_EXPRESSIONS = 64  # of one template

# A segment that leads up, wherever one may begin and end.
_UP = re.compile(r"(?<![^/\\=:?&;,])\.\.(?![^/\\?#&;,])")


def covers(template: str, uri: str) -> bool:
    """True where a template expands to a URI (RFC 6570), for some values of its variables.

    A variable may have any value that its expression can write, and `{name*}` segments too, as
    servers take it. None that leads up and out of its place (`..`, however it is encoded), and no
    query parameter that the template does not name.
    """
    if len(uri) > MOST_CHARS:
        return False
    known = _template(template)
    if known is None or hides(uri) or _leads_up(uri):
        return False
    return known.fits(normal(uri))


def _leads_up(text: str) -> bool:
    """True where something in it leads up once it is decoded, however often it was encoded.

    Nor does a NUL pass, at which programs in C stop reading.
    """
    for _ in range(4):
        if _UP.search(text) or "\0" in text:
            return True
        again = ENCODED.sub(
            lambda run: bytes.fromhex(run[0].replace("%", "")).decode("utf-8", "replace"), text
        )
        if again == text:
            return False
        text = again
    return True  # nobody encodes so often but to hide it


class _Expression(NamedTuple):
    """What one expression can write: its first character, and what may follow."""

    prefix: str
    run: re.Pattern[str]


class _Template(NamedTuple):
    """A template, read: what stands in it and what it can write, and its query's parameters."""

    parts: tuple[str | _Expression, ...]
    query: frozenset[str] | None

    def fits(self, uri: str) -> bool:
        """True where it expands to the URI; takes time in its length for each part."""
        ends = [0]
        for part in self.parts:
            if isinstance(part, str):
                ends = [end + len(part) for end in ends if uri.startswith(part, end)]
            else:
                ends = _after(part, uri, ends)
        if len(uri) not in ends[-1:]:
            return False
        asked = uri.partition("#")[0].partition("?")[2]
        if self.query is None or not asked:
            return True
        return all(pair.partition("=")[0] in self.query for pair in asked.split("&"))


def _after(part: _Expression, uri: str, starts: list[int]) -> list[int]:
    """Where the rest may begin, in order; a variable without a value writes nothing."""
    found = set(starts)
    reached = -1
    for start in starts:
        begin = start + len(part.prefix)
        if begin <= reached or not uri.startswith(part.prefix, start):
            continue  # what can be reached from there has been, from an earlier start
        match = part.run.match(uri, begin)
        reached = match.end() if match else begin
        found.update(range(begin, reached + 1))
    return sorted(found)


_EXPRESSION = re.compile(r"\{([+#./;?&]?)([^{}]*)\}")
_VARIABLE = re.compile(r"((?:[A-Za-z0-9_.-]|%[0-9A-Fa-f]{2})+)(\*|:[1-9][0-9]{0,3})?")
_NUMBERED = re.compile(r"\{([0-9]+)\}")
_ONE, _MANY, _ANY, _ASKED = r"[^/?#\\]*", r"[^?#\\]*", r".*", r"[^#]*"
_RUNS = {
    "": _ONE,
    ".": _ONE,
    ";": _ONE,
    "/": _MANY,
    "+": _ANY,
    "#": _ANY,
    "?": _ASKED,
    "&": _ASKED,
}


@lru_cache(maxsize=256)
def _template(template: str) -> _Template | None:
    """A template, read; None where it is none, or too long."""
    if len(template) > MOST_TEMPLATE_CHARS or template.count("{") > MOST_EXPRESSIONS:
        return None
    written = _EXPRESSION.findall(template)
    expressions: list[_Expression] = []
    named: set[str] | None = set()
    for operator, listed in written:
        variables = [_VARIABLE.fullmatch(one) for one in listed.split(",")]
        names = {variable[1] for variable in variables if variable is not None}
        if None in variables:
            return None
        explodes = "*" in listed
        if operator in ("+", "#") or (explodes and operator in ("?", "&")):
            named = None  # such an expression can write parameters of any name
        elif named is not None and operator in ("?", "&"):
            named |= names
        run = _MANY if explodes and operator == "" else _RUNS[operator]
        expressions.append(_Expression(operator.strip("+"), re.compile(run, re.DOTALL)))
    numbers = iter(range(len(written)))
    plain = normal(_EXPRESSION.sub(lambda _: f"{{{next(numbers)}}}", template))
    pieces = _NUMBERED.split(plain)
    literal = "".join(pieces[::2])
    if "{" in literal or "}" in literal:
        return None
    parts: list[str | _Expression] = list(pieces)
    parts[1::2] = [expressions[int(number)] for number in pieces[1::2]]
    if named is not None:
        asked = literal.partition("#")[0].partition("?")[2]
        named |= {pair.partition("=")[0] for pair in asked.split("&")}
    return _Template(tuple(parts), None if named is None else frozenset(named))
