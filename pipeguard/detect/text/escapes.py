"""Escapes: characters encoded one by one, and read with the text around them.

Percent-encoding (RFC 3986, section 2.1), backslash escapes (RFC 8259, section 7), HTML character
references (HTML, 13.5) and quoted-printable (RFC 2045, section 6.7).
"""

import re
from binascii import a2b_qp, unhexlify
from collections.abc import Callable, Iterator
from functools import partial

from pipeguard.detect.text.encoding import Decoded, Encoding, in_windows, windows
from pipeguard.firewall.budgets import DecodingBudget
from pipeguard.firewall.lazy_regex import lazy_regex

ROUNDS = 3  # `&amp;amp;#105;` is one letter
OCTAL = "(?:0[4-7]|1[0-7])[0-7]"  # a printable character of ASCII

# Repetitions of a group are few, or forgotten 500 at a time: `re` allocates 140 bytes for each.
# Each pattern begins with a fixed character, which `re` finds ten times as fast as a group.
_PERCENT = lazy_regex(
    rb"%(?:u[0-9A-Fa-f]{4}|[0-9A-Fa-f]{2})(?>(?>(?:%(?:u[0-9A-Fa-f]{4}|[0-9A-Fa-f]{2})){1,500})*)"
)
_PERCENT_UNITS = lazy_regex(rb"(?:%u[0-9A-Fa-f]{4})+")
_BACKSLASHED = (
    r"(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|U000[0-9A-Fa-f]{5}|[ux]\{[0-9A-Fa-f]{1,5}\}|"
    rf"0000[2-7][0-9A-Fa-f]|0?{OCTAL})"
)
_ESCAPE = lazy_regex(rf"\\{_BACKSLASHED}(?:\\{_BACKSLASHED}){{0,499}}".encode())
_ANY_ESCAPE = lazy_regex(rb'\\[nrt"\\/xuU01]')
_CODE_POINT = lazy_regex(rb"\\(?:[ux]\{([0-9A-Fa-f]+)\}|(0000[2-7][0-9A-Fa-f]))")
_LONG_OCTAL = lazy_regex(rb"\\0([01][0-7]{2})")
_SIMPLE_ESCAPES = {
    rb"\\": b"\\", rb"\n": b"\n", rb"\r": b"\r", rb"\t": b"\t", rb"\"": b'"', rb"\/": b"/",
}  # fmt: skip


def _percent(data: bytes, start: int, end: int, budget: DecodingBudget) -> Iterator[Decoded]:
    plain = partial(_PERCENT.sub, _unpercent)
    for low, high in windows(_PERCENT, data, start, end, budget):
        text = budget.replace(_PERCENT, _unpercent, data[low:high])
        yield Decoded(text, "percent", low, high, plain)


def _unpercent(match: re.Match[bytes]) -> bytes:
    run = match[0]
    if b"u" in run:  # as `escape` writes (ECMA-262, annex B)
        run = _PERCENT_UNITS.sub(lambda units: _unescape_run(units[0].replace(b"%", b"\\")), run)
        return re.sub(rb"(?:%[0-9A-Fa-f]{2})+", lambda m: unhexlify(m[0].replace(b"%", b"")), run)
    return unhexlify(run.replace(b"%", b""))


def _escapes(data: bytes, start: int, end: int, budget: DecodingBudget) -> Iterator[Decoded]:
    for low, high in windows(_ANY_ESCAPE, data, start, end, budget):
        plain = _plain_of_simple(budget.replace(_ESCAPE, _unescape, data[low:high]))
        yield Decoded(plain, "escapes", low, high, _plain_of_escapes)


def _plain_of_escapes(block: bytes) -> bytes:
    return _plain_of_simple(_ESCAPE.sub(_unescape, block))


def _plain_of_simple(text: bytes) -> bytes:
    for escape, character in _SIMPLE_ESCAPES.items():
        text = text.replace(escape, character)
    return text


def _unescape_run(run: bytes) -> bytes:
    if b"{" in run or b"\\0" in run:
        run = _CODE_POINT.sub(lambda m: b"\\U" + (m[1] or m[2]).rjust(8, b"0"), run)
        run = _LONG_OCTAL.sub(rb"\\\1", run)
    text = run.decode("unicode_escape")  # the patterns admit no number above U+10FFFF
    # Two escaped surrogates are one character (RFC 8259, section 7).
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _unescape(match: re.Match[bytes]) -> bytes:
    return _unescape_run(match[0])


def undo_repeatedly(undo: Callable[[str], str], text: str) -> str:
    """Undo an encoding until that changes nothing, but not more often than so many times."""
    for _ in range(ROUNDS):
        plain = undo(text)
        if plain == text:
            break
        text = plain
    return text


def _plain_of_entities(block: bytes) -> bytes:
    import html  # imported here because its table of names is large

    text = undo_repeatedly(html.unescape, block.decode("utf-8", "replace"))
    return text.encode("utf-8", "replace")


_TERMINAL = r"\x1b\[[0-9;?]*[A-Za-z]"  # ECMA-48, 8.3
_INLINE = "(?:b|em|i|u|mark|strong|span|font|wbr)"  # tags that highlight a part of a word
_MARKUP = lazy_regex(rf"{_TERMINAL}|</?{_INLINE}(?:\s[^<>]*)?>".encode())
_MARKUP_SIGN = (
    rf"[A-Za-z0-9_-](?:{_TERMINAL})+[A-Za-z0-9_-]|"
    rf"[A-Za-z0-9_-](?:</{_INLINE}>)?<{_INLINE}(?:\s[^<>]*)?>[A-Za-z0-9_-]"
)
_ENTITY_SIGN = "&(?:#[0-9]{2}|#[Xx][0-9A-Fa-f]{2}|[A-Za-z]{2,6};)"
_QUOTED_PRINTABLE_SIGN = "(?:=[0-9A-F]{2}[^=\\n]{0,3}){3}|[A-Za-z0-9,.]=\\r?\\n[A-Za-z0-9]"
ENCODINGS = {
    "escapes": Encoding(rf'\\(?:[nrt"\\/]|{_BACKSLASHED})', _escapes),
    "percent": Encoding("%(?:[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})", _percent),
    "entities": Encoding(_ENTITY_SIGN, in_windows("entities", _ENTITY_SIGN, _plain_of_entities)),
    "markup": Encoding(_MARKUP_SIGN, in_windows("markup", _MARKUP_SIGN, partial(_MARKUP.sub, b""))),
    "quoted-printable": Encoding(
        _QUOTED_PRINTABLE_SIGN, in_windows("quoted-printable", _QUOTED_PRINTABLE_SIGN, a2b_qp)
    ),
}
