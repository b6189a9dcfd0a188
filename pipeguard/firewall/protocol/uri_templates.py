"""Which URIs a template expands to (RFC 6570, levels 1 to 4). Opens none of them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.uris import ENCODED, hides, normal

MOST_CHARS = 8192  # of a URI that a template is compared with; RFC 9110, 4.1 asks for 8000
MOST_TEMPLATE_CHARS = 2048
MOST_EXPRESSIONS = 64  # of one template

# A `..` segment, wherever a segment may begin and end.
_UP = lazy_regex(r"(?<![^/\\=:?&;,])\.\.(?![^/\\?#&;,])")


def covers(template: str, uri: str) -> bool:
    """True if a template expands to a URI (RFC 6570) for some values of its variables.

    A variable may have any value that its expression can write; `{name*}` may also write several
    segments, since servers accept that. A URI that leads up (`..`, however it is encoded), or that
    has a query parameter which the template does not name, is never covered.
    """
    if len(uri) > MOST_CHARS:
        return False
    parsed = _parse(template)
    if parsed is None or hides(uri) or _leads_up(uri):
        return False
    return parsed.covers(normal(uri))


def _leads_up(text: str) -> bool:
    """True if a decoded text, however often it was encoded, has a `..` segment.

    Or a NUL, at which programs in C stop reading.
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
    return True  # only somebody who hides something encodes so often


class _Expression(NamedTuple):
    """What one expression can write: its first character, and the characters that may follow."""

    prefix: str
    run: re.Pattern[str]


class _Template(NamedTuple):
    """A parsed template: its literals and expressions, and the query parameters that it names.

    `query` is None if it can write parameters of any name.
    """

    parts: tuple[str | _Expression, ...]
    query: frozenset[str] | None

    def covers(self, uri: str) -> bool:
        """True if it expands to the URI. Takes time linear in the URI for each part."""
        ends = [0]
        for part in self.parts:
            if isinstance(part, str):
                ends = [end + len(part) for end in ends if uri.startswith(part, end)]
            else:
                ends = _after(part, uri, ends)
        if len(uri) not in ends[-1:]:
            return False
        query = uri.partition("#")[0].partition("?")[2]
        if self.query is None or not query:
            return True
        return all(pair.partition("=")[0] in self.query for pair in query.split("&"))


def _after(part: _Expression, uri: str, starts: list[int]) -> list[int]:
    """Where the next part may begin, sorted. A variable without a value writes nothing."""
    ends = set(starts)
    reached = -1
    for start in starts:
        begin = start + len(part.prefix)
        if begin <= reached or not uri.startswith(part.prefix, start):
            continue  # an earlier start reached all that this one would
        match = part.run.match(uri, begin)
        reached = match.end() if match else begin
        ends.update(range(begin, reached + 1))
    return sorted(ends)


_EXPRESSION = lazy_regex(r"\{([+#./;?&]?)([^{}]*)\}")
_VARIABLE = lazy_regex(r"((?:[A-Za-z0-9_.-]|%[0-9A-Fa-f]{2})+)(\*|:[1-9][0-9]{0,3})?")
_NUMBERED = lazy_regex(r"\{([0-9]+)\}")
_SEGMENT, _SEGMENTS, _ANY, _QUERY = r"[^/?#\\]*", r"[^?#\\]*", r".*", r"[^#]*"
_RUNS = {
    "": _SEGMENT,
    ".": _SEGMENT,
    ";": _SEGMENT,
    "/": _SEGMENTS,
    "+": _ANY,
    "#": _ANY,
    "?": _QUERY,
    "&": _QUERY,
}


@lru_cache(maxsize=256)
def _parse(template: str) -> _Template | None:
    """Parse a template; None if it is invalid or too long."""
    if len(template) > MOST_TEMPLATE_CHARS or template.count("{") > MOST_EXPRESSIONS:
        return None
    written = _EXPRESSION.findall(template)
    expressions: list[_Expression] = []
    named: set[str] | None = set()
    for operator, listed in written:
        variables = [_VARIABLE.fullmatch(name) for name in listed.split(",")]
        names = {variable[1] for variable in variables if variable is not None}
        if None in variables:
            return None
        explodes = "*" in listed
        if operator in ("+", "#") or (explodes and operator in ("?", "&")):
            named = None  # such an expression can write parameters of any name
        elif named is not None and operator in ("?", "&"):
            named |= names
        run = _SEGMENTS if explodes and operator == "" else _RUNS[operator]
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
        query = literal.partition("#")[0].partition("?")[2]
        named |= {pair.partition("=")[0] for pair in query.split("&")}
    return _Template(tuple(parts), None if named is None else frozenset(named))
