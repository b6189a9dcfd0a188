"""The ways in which a text can be written within another. Knows no secrets.

An entry of `ROWS` finds what is written in one way, reads it, and writes another text like it.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from html import unescape
from quopri import decodestring
from urllib.parse import unquote

from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.records import NamedTuple
from pipeguard.unicode.folding import fold

LEAST_BYTES = 6  # of a text in digits: fewer are one by chance
_PRINTABLE = bytes(range(32, 127)) + b"\t\r\n"

Edit = tuple[int, int, str]  # start, end, and what takes the place


class Row(NamedTuple):
    """A way to write a text.

    Attributes:
        mark: is in each source with one.
        expression: finds a text that is written so.
        read: gives the text, or raises ValueError.
        write: writes a text; gets one that is written so.
    """

    mark: str
    expression: re.Pattern[str]
    read: Callable[[str], str]
    write: Callable[[str, str], str]


def apply_edits(source: str, edits: Iterable[Edit]) -> str:
    """A source with edits, which do not overlap."""
    parts: list[str] = []
    at = 0
    for start, end, new in sorted(edits):
        parts += source[at:start], new
        at = end
    return "".join([*parts, source[at:]])


def _to_text(data: bytes) -> str:
    """The text that bytes are; raises ValueError for all others."""
    if len(data) < LEAST_BYTES or 10 * len(data.translate(None, _PRINTABLE)) > len(data):
        raise ValueError
    return data.decode("latin-1")


def _read_base64(row: str) -> str:
    digits = re.sub(r"\s", "", row).rstrip("=").replace("-", "+").replace("_", "/")
    return _to_text(b64decode(digits + "=" * (-len(digits) % 4), validate=True))


def _write_base64(text: str, row: str) -> str:
    written = b64encode(text.encode("latin-1", "replace")).decode()
    if "-" in row or "_" in row:
        written = written.replace("+", "-").replace("/", "_")
    return written if "=" in row else written.rstrip("=")


def _write_hex(text: str, row: str) -> str:
    pairs = text.encode("latin-1", "replace").hex(" ").split()
    written = _HEX_GAP.search(row)
    return (written[0] if written else "").join(
        pairs if row.lower() == row else map(str.upper, pairs)
    )


def _write_each(form: str) -> Callable[[str, str], str]:
    """Write each letter as an escape, of which `form` has the code."""
    return lambda text, _: "".join(form.format(ord(letter)) for letter in text)


def _fold(row: str) -> str:
    return fold(row.encode("utf-8", "replace"))[0].decode()


_HEX_GAP = lazy_regex("[ :,-]")
_DIGITS = "[A-Za-z0-9+/_-]"
ROWS = (
    Row(
        "\\u",
        lazy_regex(r"(?:\\{1,8}u[0-9a-fA-F]{4}){6,}"),
        lambda row: re.sub(r"\\+u(....)", lambda unit: chr(int(unit[1], 16)), row),
        lambda text, row: _write_each(row[: row.index("u")] + "u{:04x}")(text, row),
    ),
    Row("%", lazy_regex("(?:%[0-9a-fA-F]{2}){6,}"), unquote, _write_each("%{:02X}")),
    Row("&#", lazy_regex("(?:&#[xX]?[0-9a-fA-F]{1,6};){6,}"), unescape, _write_each("&#x{:x};")),
    Row(
        "=",
        lazy_regex(r"(?:=[0-9A-F]{2}(?:=\s{1,2})?){6,}"),
        lambda row: decodestring(re.sub(r"=\s+", "", row)).decode("latin-1"),
        _write_each("={:02X}"),
    ),
    Row(
        "",
        lazy_regex("(?<![!-~])[!#-~](?:([ .\u200b\u00ad\u0301])[!#-~])(?:\\1[!#-~]){6,}(?![!#-~])"),
        lambda row: row[::2],
        lambda text, row: row[1].join(text),
    ),
    Row(
        "",
        lazy_regex("[^\x00-\x7f](?:[!-~]{0,16}[^\x00-\x7f]){4,}[!-~]{0,16}"),
        _fold,
        lambda text, _: text,
    ),
    Row(
        "",
        lazy_regex("[0-9a-fA-F]{2}(?:([ :,-]?)[0-9a-fA-F]{2})(?:\\1[0-9a-fA-F]{2}){5,}"),
        lambda row: _to_text(bytes.fromhex(_HEX_GAP.sub("", row))),
        _write_hex,
    ),
    Row(
        "",
        lazy_regex(f"(?=[a-z/_-]{{0,40}}[A-Z0-9]){_DIGITS}{{8,}}(?:  {_DIGITS}{{20,}})*={{0,2}}"),
        _read_base64,
        _write_base64,
    ),
)
