"""Ways to write a text so that it reads as something else: each encoding that views undo."""

import base64
import codecs
import gzip
import string
import textwrap
import zlib
from collections.abc import Callable
from urllib.parse import quote

Disguise = Callable[[str], str]


def _wrapped(text: str, ending: str) -> str:
    """Base64 as mail has it, in lines of 76 (RFC 2045, section 6.8)."""
    return ending.join(textwrap.wrap(base64.b64encode(text.encode()).decode(), 76))


def _utf16_units(text: str) -> list[int]:
    raw = text.encode("utf-16-be")
    return [int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2)]


PERCENT: dict[str, Disguise] = {
    "percent": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "percent where needed": lambda text: quote(text, safe=""),
    "percent of some": lambda text: "".join(
        f"%{ord(c):02x}" if c.isascii() and index % 3 == 0 else c for index, c in enumerate(text)
    ),
}
ESCAPES: dict[str, Disguise] = {
    "escapes u": lambda text: "".join(f"\\u{unit:04x}" for unit in _utf16_units(text)),
    "escapes x": lambda text: "".join(f"\\x{ord(c):02X}" if ord(c) < 0x80 else c for c in text),
    "escapes u{}": lambda text: "".join(f"\\u{{{ord(c):X}}}" for c in text),
    "escapes U": lambda text: "".join(f"\\U{ord(c):08x}" for c in text),
    "escapes of some": lambda text: "".join(
        f"\\u{ord(c):04x}" if ord(c) < 0x80 and index % 2 else c for index, c in enumerate(text)
    ),
}
# What cannot stand in the midst of a word, since one cannot tell where it begins.
DENSE: dict[str, Disguise] = {
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 unpadded": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "base64 url-safe": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 wrapped": lambda text: _wrapped(text, "\n"),
    "base64 wrapped CRLF": lambda text: _wrapped(text, "\r\n"),
    "hex": lambda text: text.encode().hex(),
    "hex upper": lambda text: text.encode().hex().upper(),
    "hex spaced": lambda text: text.encode().hex(" "),
    "hex colons": lambda text: text.encode().hex(":").upper(),
    "hex 0x": lambda text: ", ".join(f"0x{byte:02x}" for byte in text.encode()),
    "base32": lambda text: base64.b32encode(text.encode()).decode(),
    "base32 unpadded": lambda text: base64.b32encode(text.encode()).decode().rstrip("="),
    "gzip": lambda text: base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode(),
    "zlib": lambda text: base64.b64encode(zlib.compress(text.encode())).decode(),
    "base32 lower": lambda text: base64.b32encode(text.encode()).decode().lower().rstrip("="),
}
TAGS: dict[str, Disguise] = {
    "tags": lambda text: "".join(chr(0xE0000 + ord(c)) if " " <= c <= "~" else c for c in text)
}
ENTITIES: dict[str, Disguise] = {
    "entities": lambda text: "".join(f"&#{ord(c)};" for c in text),
    "entities hex": lambda text: "".join(f"&#x{ord(c):X};" for c in text),
    "entities twice": lambda text: "".join(f"&amp;#{ord(c)};" for c in text),
}
MAIL: dict[str, Disguise] = {"mail": lambda text: "".join(f"={byte:02X}" for byte in text.encode())}
ENCODINGS = PERCENT | ESCAPES | DENSE | TAGS | ENTITIES | MAIL
# What no letter of the text is left in: as bytes or bits written with characters that nobody sees.
UNSEEN: dict[str, Disguise] = {
    "selectors": lambda text: "".join(
        chr(0xFE00 + byte if byte < 16 else 0xE0100 + byte - 16) for byte in text.encode()
    ),
    "bits": lambda text: "".join(
        "\u2062\u2064"[byte >> shift & 1] for byte in text.encode() for shift in range(7, -1, -1)
    ),
}
# What is only read where a watched word or a known prefix stands in it.
RESPELT: dict[str, Disguise] = {
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "reversed": lambda text: text[::-1],
}
JSON_IN_A_STRING: Disguise = lambda text: (  # noqa: E731  one of a kind
    '{\\"a\\": \\"' + text.replace("\\", "\\\\").replace('"', '\\\\\\"') + '\\"}'
)

_WIDE = str.maketrans({c: chr(ord(c) + 0xFEE0) for c in map(chr, range(0x21, 0x7F))})
_BOLD = str.maketrans(
    {c: chr(0x1D5D4 + i) for i, c in enumerate(string.ascii_uppercase)}
    | {c: chr(0x1D5EE + i) for i, c in enumerate(string.ascii_lowercase)}
)
_CYRILLIC = str.maketrans("aceopxyABEKMHOPCTX", "асеорхуАВЕКМНОРСТХ")
FOLDS: dict[str, Disguise] = {
    "wide": lambda text: text.translate(_WIDE),
    "bold": lambda text: text.translate(_BOLD),
    "Cyrillic": lambda text: text.translate(_CYRILLIC),
    "zero width": "\u200b".join,
    "soft hyphens": "\u00ad".join,
    "accents": lambda text: "".join(c + "\u0301" if c.isalpha() else c for c in text),
    "ideographic spaces": lambda text: text.replace(" ", "\u3000") + "\u200d",
    "no-break spaces": lambda text: text.replace(" ", "\u00a0") + "\u2060",
}
