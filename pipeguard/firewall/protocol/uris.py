"""Resources by their URIs: equal URIs, and the expansions of a template. Opens none.

Knows RFC 3986 (equivalence, section 6.2.2) and the changes that clients' URL parsers make to a URI
before they send it (WHATWG URL, sections 4.4 and 4.5).
"""

import re
from functools import lru_cache

from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.unicode.display import is_hidden

# Schemes whose host is read without case, whose empty path is `/`, and in which `\` is `/` (WHATWG
# URL, 3.3), with their default ports.
_PORTS = {"http": ":80", "https": ":443", "ws": ":80", "wss": ":443", "ftp": ":21", "file": ":"}
_PARTS = lazy_regex(r"(?s)(?:([A-Za-z][A-Za-z0-9+.-]*):)?(//[^/?#]*)?([^?#]*)(.*)")
ENCODED = lazy_regex(r"(?:%[0-9A-Fa-f]{2})+")
# Delimiters (RFC 3986, 2.2), `%` and controls mean something else when they are encoded.
_NEVER_DECODED = frozenset(":/?#[]@!$&'()*+,;=%") | {chr(code) for code in (*range(0x20), 0x7F)}
_PLAIN = lazy_regex(r"[!-$&-~]*")
_ODD = lazy_regex(r"[^!-~]|[%\\]|/\.")


def normal(uri: str) -> str:
    """The normal form of all spellings of a URI that name the same resource.

    The scheme is in lower case, and so is the host of a scheme in `_PORTS`. Characters that are
    encoded without need are decoded, `.` and `..` are resolved, invisible characters are removed.
    """
    scheme, authority, path, rest = _split(uri)
    if _ODD.search(uri):
        text = _decode(uri)
        if text.partition(":")[0].lower() in _PORTS:
            text = text.replace("\\", "/")
        scheme, authority, path, rest = _split(text)
        path = _resolve(path)
    scheme = scheme.lower()
    if scheme in _PORTS and "{" not in authority:
        authority = authority.lower().removesuffix(_PORTS[scheme])
        path = path or "/"
    if scheme == "file" and authority in ("", "//localhost"):
        authority = "//"
    return f"{scheme}:{authority}{path}{rest}" if scheme else f"{authority}{path}{rest}"


def hides(uri: str) -> bool:
    """True if a URI contains an invisible character, encoded or not."""
    return not _PLAIN.fullmatch(uri) and any(map(is_hidden, ENCODED.sub(_decode_run, uri)))


def _split(uri: str) -> tuple[str, ...]:
    """Scheme, authority with its slashes, path, and the rest; each may be empty."""
    match = _PARTS.fullmatch(uri)
    assert match is not None  # noqa: S101  any text fits
    return match.groups("")


def _decode(uri: str) -> str:
    text = ENCODED.sub(_decode_run, uri)
    text = "".join(" " if c.isspace() and c not in "\t\r\n" else c for c in text)
    return "".join(c for c in text if c not in "\t\r\n" and not is_hidden(c)).strip()


def _decode_run(run: re.Match[str]) -> str:
    """A run of encoded bytes, decoded; delimiters and bytes that are not UTF-8 stay encoded."""
    letters = bytes.fromhex(run[0].replace("%", "")).decode("utf-8", "surrogateescape")
    return "".join(
        "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogateescape"))
        if letter in _NEVER_DECODED or "\ud800" <= letter <= "\udfff"
        else letter
        for letter in letters
    )


def unpercent(text: str) -> str:
    """Undo percent-encoding once (RFC 3986, section 2.1)."""
    return ENCODED.sub(
        lambda run: bytes.fromhex(run[0].replace("%", "")).decode("utf-8", "replace"), text
    )


def _resolve(path: str) -> str:
    """A path without `.` and `..` (RFC 3986, 5.2.4)."""
    resolved: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if len(resolved) > 1:
                resolved.pop()
        elif segment != ".":
            resolved.append(segment)
    if segments[-1] in (".", ".."):
        resolved.append("")
    return "/".join(resolved)


# --- uri templates ----------------------------------------------------------------------
# Which URIs a template expands to (RFC 6570, levels 1 to 4).

MOST_CHARS = 8192  # of a URI that a template is compared with; RFC 9110, 4.1 asks for 8000
MOST_TEMPLATE_CHARS = 2048
MOST_EXPRESSIONS = 64  # of one template

# A `..` segment, wherever a segment may begin and end.
_UP = lazy_regex(r"(?<![^/\\=:?&;,])\.\.(?![^/\\?#&;,])")


def covers(template: str, uri: str) -> bool:
    """True if a template expands to a URI (RFC 6570) for some values of its variables.

    A variable may have any value that its expression can write; `{name*}` may also write several
    segments, because servers accept that. A URI that leads up (`..`, in any encoding), or that has
    a query parameter which the template does not name, is never covered.
    """
    if len(uri) > MOST_CHARS:
        return False
    parsed = _parse(template)
    if parsed is None or hides(uri) or _leads_up(uri):
        return False
    parts, named = parsed
    uri = normal(uri)
    ends = [0]
    for part in parts:  # each takes time linear in the URI
        if isinstance(part, str):
            ends = [end + len(part) for end in ends if uri.startswith(part, end)]
        else:
            ends = _after(part, uri, ends)
    if len(uri) not in ends[-1:]:
        return False
    query = uri.partition("#")[0].partition("?")[2]
    if named is None or not query:
        return True
    return all(pair.partition("=")[0] in named for pair in query.split("&"))


def _leads_up(text: str) -> bool:
    """True if a decoded text, however often it was encoded, has a `..` segment.

    Or a NUL, at which programs in C stop reading.
    """
    for _ in range(4):
        if _UP.search(text) or "\0" in text:
            return True
        again = unpercent(text)
        if again == text:
            return False
        text = again
    return True  # only an attacker encodes so often


# The output of one expression: its first character, and the characters that may follow.
_Expression = tuple[str, re.Pattern[str]]
# A parsed template: its literals and expressions, and the query parameters that it names; None for
# parameters of any name.
_Template = tuple[list[str | _Expression], set[str] | None]


def _after(part: _Expression, uri: str, starts: list[int]) -> list[int]:
    """Positions at which the next part may begin, sorted; a variable may write nothing."""
    prefix, run = part
    ends = set(starts)
    reached = -1
    for start in starts:
        begin = start + len(prefix)
        if begin <= reached or not uri.startswith(prefix, start):
            continue  # an earlier start reached all that this one would
        match = run.match(uri, begin)
        reached = match.end() if match else begin
        ends.update(range(begin, reached + 1))
    return sorted(ends)


_EXPRESSION = lazy_regex(r"\{([+#./;?&]?)([^{}]*)\}")
_VARIABLE = lazy_regex(r"((?:[A-Za-z0-9_.-]|%[0-9A-Fa-f]{2})+)(\*|:[1-9][0-9]{0,3})?")
_NUMBERED = lazy_regex(r"\{([0-9]+)\}")
_SEGMENT = r"[^/?#\\]*"
_SEGMENTS = r"[^?#\\]*"
_ANY = r".*"
_QUERY = r"[^#]*"
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
        expressions.append((operator.strip("+"), re.compile(run, re.DOTALL)))
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
    return parts, named
