"""Reads the page of an app: which hosts it loads from and sends to, and what it tells a model.

Only attributes, calls and assignments count: most addresses in a bundle are requested by nobody. An
address is known as far as it is made of literals, also over names. What only a run shows is left to
the client's CSP. Sources: MCP Apps 2026-01-26, "Content Security Policy"; HTML; CSP 3.
"""

import html
import re
from collections.abc import Iterator
from itertools import islice

from pipeguard.detect.checks.url_hosts import hosts
from pipeguard.detect.content_marks import ContentMarks
from pipeguard.detect.findings import read_value
from pipeguard.detect.knowledge import Knowledge
from pipeguard.detect.text.escapes import undo_repeatedly
from pipeguard.firewall.finding import Confidence, Finding, Severity
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.pins.fingerprint import read_bytes
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, walk_strings
from pipeguard.firewall.protocol.places import Surface, get_value
from pipeguard.firewall.session.guard import Context

MOST_MARKUP = 2**16  # characters that are parsed: the parser's time is quadratic in nested tags
MOST_STEPS = 2**16  # requests and assignments that are read: a bundle of 4 MB has 4,000
MOST_CHARS = 600  # of the value of a name
MOST_NAME = 256  # of a host: resolvers take 253
MOST_THREATS = 32  # that are told of one page, the most severe first
_HOLE = "\0"  # in an address: a part that only a run shows
Threat = tuple[tuple[Severity, Confidence], str, str]  # its level, rule and note
_SURE = Severity.HIGH, Confidence.HIGH
_TOLD = Severity.MEDIUM, Confidence.MEDIUM

_RAW = lazy_regex(
    r"""(?xis) (<(?:script|style)\b (?>(?:[^>"']{1,99}|"[^"]{0,99}"|'[^']{0,99}'){0,9}) >) (.*?)
    (?=</(?:script|style)[\s/>]|\Z)"""
)
_TAG = lazy_regex(r"""<[a-zA-Z](?>(?>(?:[^<>"']|"[^"]{0,999}"|'[^']{0,999}'|["']){1,500})*)>""")
_COMMENT = lazy_regex(r"(?s)<!--.*?(?:-->|\Z)")
_TEMPLATE = lazy_regex(r"(?i)<template\b")
_WORD = lazy_regex(r"""["'`]([^\s"'`]{1,128})(?=["'`])""")
_GLUE = lazy_regex(r"""(["'`])\s*(?:\+|\.concat\()\s*\1""")
_SUM = lazy_regex(r"""(["'`])\s*(?:\+|\.concat\()\s*([\w$][\w$.]*+)""")
_MEMBER = lazy_regex(r"""(?<=[\w$)\]])\[\s*["'`]([\w$]+)["'`]\s*\]""")
_STEP = lazy_regex(
    r"""(?x) \b (?:
    (?P<channel> (?:sendBeacon|WebSocket|EventSource|WebTransport|importScripts|import)\s*\(
    | open\s*\(\s* ["'`](?i:post|put|patch|delete)["'`] \s*,
    | urls?\s*:\s* \[?\s* (?=["'`](?:stun|turn)s?:) )
    | (?P<sends> (?:from|(?<!@)import)\s* (?=["'`](?:https?:)?//)
    | (?:form)?(?i:action)\s* =(?!=) | setAttribute\(\s* ["'`](?:form)?action["'`] \s*,
    | imports["'`]\s*:\s* \{\s* ["'`][^"'`]{0,99}["'`]\s*:
    | content["'`]?\s* [=,]\s* (?=["'`]\s*\d+\s*[;,])
    | (?<=<)(?:base|script)\s (?:[^<>]{0,99}?\s)? (?:xlink:)?(?:href|src)\s*= )
    | (?P<calls> (?:fetch|(?:Shared)?Worker|axios|ajax|post|put|patch)\s*(?:\?\.)?
        (?:\((?!\s*\{)|\.call\s*\([^,()]{0,40},)
    | (?:ajax|axios)\s*\(\s* \{[^{}]{0,99}?\burl\s*:
    | open\s*\(\s* ["'`](?i:get|head)["'`] \s*, )
    | (?P<loads> location(?:\.href)?\s*=(?![=>]) | location\.(?:assign|replace)\s*\( | open\s*\(
    | (?:src|SRC|srcset|poster|ping)\s*[=:](?!=) | setAttribute\(\s* ["'`](?:src|srcset)["'`] \s*,
    | (?<=<)object\s+data\s*= | url\( | (?<=@)import\s
    | (?<=<)(?!a\b|area\b)[\w:-]+\s+(?:xlink:)?href\s*= )
    | (?P<named>\w[\w$]*+) ["'`]?\s*[=:]\s* (?=["'`]|new\s+URL\() )
    (?= \s*(?:/\*.{0,99}?\*/\s*)?\\?(?:(?:new\s+(?:URL|Request)|String|encodeURI)\s*\(\s*)*
    (?: (?P<bare>(?:https?:|//)[^\s"'`)>]{1,600})
    | (?: (?:[\w$]++\.)* (?P<name>[\w$]++) \s*(?:\+\s*(?=["'`]))? )?
      (?: (?P<quote>["'`]) (?P<text>(?:(?!(?P=quote))[\s\S]){0,600}) (?P=quote)? )? )
    \s*(?P<more>\+(?![+=]))?
    (?P<body> [\s)]*,\s*(?:[\w$]|\{[^;]{0,300}?\b(?:body|method)\b) )? )"""
)
_GAP = lazy_regex(r"\$\{\s*(?:[\w$]++\.)*(?P<name>[^}]*+)\}?")
_DOCUMENT = lazy_regex(r"(?i)[\x00-\x20]*(?:javascript:|data:(?:text/html|application/xhtml))")
_ADDRESS = lazy_regex(
    r"""(?xi) [\x00-\x20]* (?:\d+[;,](?:url=)?["']?)?
    (?: (?:https?|wss?|ftp):[/\\]* | (?:stun|turn)s?: | [/\\]{2,} )
    (?: (?:[^/?\#\0]*\0)* (?=[^/?\#\0]*\.[^/?\#\0]) )?
    ( [^/?\#\0]*\.[^/?\#\0]+(?=\0) | [^/?\#\0]+(?![^/?\#]) )"""
)
_ORIGIN = lazy_regex(
    r"""(?xi) (?:data|blob): | (?:[a-z][a-z0-9+.-]*://)? (?P<any>\*\.(?=.*\.))?
    (?P<host>[\w.-]+|\[[0-9a-f:.]+\]) (?::(?:\d+|\*))? (?:/[\w.~%/-]*)?"""
)
_SEPARATOR = lazy_regex(r"[\s;,]")


def read_page(knowledge: Knowledge, context: Context, content: JsonObject) -> list[Finding]:
    """Find threats in the page of an app, besides those of any result.

    Args:
        knowledge: of the server.
        context: where the content is.
        content: of a resource, with its bytes and its CSP.

    Raises:
        Refusal: it could not be judged.
    """
    # Without NUL, which is in every letter of UTF-16.
    page = read_bytes(content).replace(b"\0", b"").decode("utf-8", "replace")
    code, text = _parse(page)
    guard = context.guard
    threats = {*_find_hosts(code, get_value(content, ("_meta", "ui", "csp")))}
    for name in {*_WORD.findall(code)}:
        if guard.pin("tool", name) and knowledge.tools.label(guard, name).acts:
            threats.add((_TOLD, "apps.calls", f"the page may call the tool {name}"))
    marks = ContentMarks(guard.contents_key, page)
    place = context.place(("text",))
    return [
        context.finding(rule, place, level, content=marks.of_part(rule, ()), note=note)
        for level, rule, note in sorted(threats, reverse=True)[:MOST_THREATS]
    ] + [
        finding._replace(pointer="", start=0, end=0)  # those of another text
        for finding in read_value(knowledge, context, Surface.DEFINITIONS, {"text": text})
    ]


def _parse(page: str) -> tuple[str, str]:
    """The code of a page, and its texts, of which people may see none."""
    from selectolax.lexbor import LexborHTMLParser  # 6 ms, for pages only

    pieces = _RAW.split(page)
    raw = pieces[2::3]
    del pieces[2::3]
    markup = _TEMPLATE.sub("<div", "".join(pieces)).replace("\\", "/")  # as browsers read addresses
    tree = LexborHTMLParser(markup[:MOST_MARKUP])
    tags = _TAG.findall(markup[MOST_MARKUP // 2 :]) + [
        f'<{node.tag} {name}="{value}"'
        for node in tree.css("*")
        for name, value in node.attributes.items()
    ]
    raw += [node.text() for node in tree.css("script, style")]  # that the pattern missed
    code = undo_repeatedly(html.unescape, "\n".join(tags + raw))
    code = _MEMBER.sub(r".\1", _GLUE.sub("", _SUM.sub(r"${\2}\1", code)))
    return code, "\n".join([*tags, *_COMMENT.findall(markup), tree.text(separator="\n")])


def _find_hosts(code: str, csp: JsonValue) -> Iterator[Threat]:
    """Find hosts that a CSP does not declare, and entries of the CSP that are no origins."""
    ends = []  # of the names of declared hosts, behind a sign for the beginning
    for _, entry in walk_strings(csp):
        if origin := _ORIGIN.fullmatch(entry):
            ends.append(("." if origin["any"] else "^") + (origin["host"] or "").lower())
        else:
            ends.append("")
            level = _SURE if _SEPARATOR.search(entry) else _TOLD
            yield level, "apps.csp", "an entry of the CSP is no origin, or is any"
    steps = [*islice(_STEP.finditer(code), MOST_STEPS)]
    if len(steps) == MOST_STEPS:
        yield _SURE, "protocol.scan-limit", "the page has more requests than PipeGuard reads"
    for step, address, has_data in _find_requests(steps):
        if step["loads"] and _DOCUMENT.match(address):
            yield _SURE, "apps.frame", "the page opens a `javascript:` or `data:` document"
        elif step["channel"] and address.startswith(_HOLE):
            yield _TOLD, "apps.host", "the page sends to an address that only a run shows"
        named = _ADDRESS.match(address)
        name = named[1] if named else ""
        sign = "." if name.startswith(".") else "^"  # behind a part that only a run shows
        for host in hosts(name.lstrip(".")[:MOST_NAME]):
            if not f"{sign}{host.name}".endswith(tuple(ends)):
                note = f"the page requests {host.name}, which its CSP does not declare"
                yield _SURE if has_data else _TOLD, "apps.host", note


def _find_requests(steps: list[re.Match[str]]) -> Iterator[tuple[re.Match[str], str, bool]]:
    """Each request, its address, and True if data goes there or code comes."""
    values: dict[str | None, str] = {None: ""}

    def look_up(part: re.Match[str]) -> str:
        return values.get(part["name"], _HOLE)

    names = [step for step in steps if step["named"]]  # a function may be above them
    for step in names + steps:
        address = step["bare"] or look_up(step) + _GAP.sub(look_up, step["text"] or "")
        if step["more"]:
            address += _HOLE
        if step["named"]:
            values[step["named"]] = address[:MOST_CHARS]
        else:
            has_body = step["calls"] and step["body"]
            has_data = step["channel"] or step["sends"] or has_body or _HOLE in address
            yield step, "".join(address.split()), bool(has_data)
