"""Characters that stand for others in the midst of a text, which is read with them.

Percent signs, backslashes, entities of HTML, and mail's quoted-printable. Sources: RFC 3986
section 2.1, RFC 8259 section 7, HTML 13.5, RFC 2045 section 6.7.
"""

from __future__ import annotations

import re
from binascii import a2b_qp, unhexlify
from collections.abc import Callable

from pipeguard.core.text.cues import CUES, Cue
from pipeguard.core.text.decoder import Budget, Decoded, Decoder
from pipeguard.core.unicode.folding import Range

AROUND_BYTES = 384  # of plain text on either side of something encoded that are read with it
UNCUT_BYTES = 32  # of several escapes in a row that are fewer than their cue asks for
ENTITY_ROUNDS = 3  # `&amp;amp;#105;` is one letter in the end

# What repeats a group is held short or possessive: `re` keeps 140 bytes for each repetition.
# Each begins with its sign, by which `re` finds it ten times as fast as by a group.
_PERCENT = re.compile(
    rb"%(?:u[0-9A-Fa-f]{4}|[0-9A-Fa-f]{2})(?:%(?:u[0-9A-Fa-f]{4}|[0-9A-Fa-f]{2}))*+"
)
_PERCENT_UNITS = re.compile(rb"(?:%u[0-9A-Fa-f]{4})+")
_ESCAPE = re.compile(CUES[Cue.ESCAPE].encode() + b"(?:" + CUES[Cue.ESCAPE].encode() + b"){0,499}")
_ANY_ESCAPE = re.compile(rb'\\[nrt"\\/xuU01]')
_CODE_POINT = re.compile(rb"\\(?:[ux]\{([0-9A-Fa-f]+)\}|(0000[2-7][0-9A-Fa-f]))")
_LONG_OCTAL = re.compile(rb"\\0([01][0-7]{2})")
_SIMPLE_ESCAPES = (
    (b"\\\\", b"\\"), (b"\\n", b"\n"), (b"\\r", b"\r"), (b"\\t", b"\t"), (b'\\"', b'"'),
    (b"\\/", b"/"),
)  # fmt: skip


def windowed(view: str, cue: Cue, reader: Callable[[bytes], bytes]) -> Decoder:
    """A decoder of what keeps the text around it: windows round each cue are read as a whole."""
    pattern = re.compile(CUES[cue].encode())

    def decoder(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
        return [
            Decoded(reader(data[low:high]), view, low, high)
            for low, high in _around(pattern, data, start, end, budget)
        ]

    return decoder


def _around(
    pattern: re.Pattern[bytes], data: bytes, start: int, end: int, budget: Budget
) -> list[Range]:
    """The stretches that hold a pattern, with what stands around, neighbours joined."""
    windows: list[Range] = []
    position = start
    while (match := pattern.search(data, position, end)) and budget.call():
        low = max(start, match.start() - AROUND_BYTES)
        # What follows near by is in the window; the last of it is not cut, and may push its end on.
        sign = data[match.start() : match.start() + 1]
        last = data.rfind(sign, match.start(), min(end, match.end() + AROUND_BYTES))
        high = min(end, max(match.end() + AROUND_BYTES, last + UNCUT_BYTES))
        if windows and low <= windows[-1][1]:
            windows[-1] = (windows[-1][0], high)
        else:
            windows.append((low, high))
        position = max(match.end(), last)
    return windows


def _percent(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    return [
        Decoded(budget.replace(_PERCENT, _unpercent, data[low:high]), "percent", low, high)
        for low, high in _around(_PERCENT, data, start, end, budget)
    ]


def _plain_of_percent(block: bytes) -> bytes:
    return _PERCENT.sub(_unpercent, block)


def _unpercent(match: re.Match[bytes]) -> bytes:
    run = match[0]
    if b"u" in run:  # as `escape` writes (ECMA-262, annex B)
        run = _PERCENT_UNITS.sub(lambda units: _unescape_run(units[0].replace(b"%", b"\\")), run)
        return re.sub(rb"(?:%[0-9A-Fa-f]{2})+", lambda m: unhexlify(m[0].replace(b"%", b"")), run)
    return unhexlify(run.replace(b"%", b""))


def escapes(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    """What stands for itself behind backslashes, with what stands around."""
    found: list[Decoded] = []
    for low, high in _around(_ANY_ESCAPE, data, start, end, budget):
        plain = budget.replace(_ESCAPE, _unescape, data[low:high])
        found.append(Decoded(_plain_of_simple(plain), "escapes", low, high))
    return found


def _plain_of_escapes(block: bytes) -> bytes:
    return _plain_of_simple(_ESCAPE.sub(_unescape, block))


def _plain_of_simple(text: bytes) -> bytes:
    for written, meant in _SIMPLE_ESCAPES:
        if written in text:
            text = text.replace(written, meant)
    return text


def _unescape(match: re.Match[bytes]) -> bytes:
    return _unescape_run(match[0])


def _unescape_run(run: bytes) -> bytes:
    if b"{" in run or b"\\0" in run:
        run = _CODE_POINT.sub(lambda m: b"\\U" + (m[1] or m[2]).rjust(8, b"0"), run)
        run = _LONG_OCTAL.sub(rb"\\\1", run)
    text = run.decode("unicode_escape")  # no digits reach beyond the last code point
    # Two escaped surrogates are one character (RFC 8259, section 7).
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _plain_of_entities(block: bytes) -> bytes:
    import html  # here, since its table of names is large

    text = block.decode("utf-8", "replace")
    for _ in range(ENTITY_ROUNDS):
        plain = html.unescape(text)
        if plain == text:
            break
        text = plain
    return text.encode("utf-8", "replace")


def _plain_of_quoted_printable(block: bytes) -> bytes:
    return a2b_qp(block)


# How a stretch of each view is read: the way back is found by reading its heads.
READERS: dict[str, Callable[[bytes], bytes]] = {
    "percent": _plain_of_percent,
    "escapes": _plain_of_escapes,
    "entities": _plain_of_entities,
    "quoted-printable": _plain_of_quoted_printable,
}
DECODERS: dict[Cue, Decoder] = {
    Cue.PERCENT: _percent,
    Cue.ENTITY: windowed("entities", Cue.ENTITY, _plain_of_entities),
    Cue.QUOTED_PRINTABLE: windowed(
        "quoted-printable", Cue.QUOTED_PRINTABLE, _plain_of_quoted_printable
    ),
}
