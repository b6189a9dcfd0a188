"""Disguises: ways to write a text that a model can still read, and a filter may not.

A disguise makes one string of a text; the `split-` ones make several. They are written from the
standards alone, so that none shares a mistake with the views that PipeGuard reads.
"""

import base64
import codecs
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

Disguise = Callable[[str], str]
LINE = 76  # characters of a line of base64 (RFC 2045, section 6.8)
LABEL = 60  # characters of a DNS label; at most 63 (RFC 1035, section 2.3.4)
SINK = "sync.collector.test"  # a reserved name (RFC 2606)
PIECES = 3
WORDS_TO_SPLIT = 6  # a text with fewer words is cut inside words
ZERO_WIDTH_SPACE, SOFT_HYPHEN, ACUTE = "\u200b", "\u00ad", "\u0301"
OVERRIDE, POP = "\u202e", "\u202c"  # from right to left, and its end (UAX 9)
TAGS = 0xE0000
BASE_OF_SELECTORS = "\U0001f600"

_LEET = str.maketrans("aeiostAEIOST", "431057431057")
_LOOK_ALIKES = str.maketrans("aceijopsxyABCEHIKMOPSTXY", "асеіјорѕхуАВСЕНІКМОРЅТХУ")
_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)} | {0x20: 0x3000}


def _bold() -> dict[int, int]:
    starts = {"A": 0x1D400, "a": 0x1D41A, "0": 0x1D7CE}
    counts = {"A": 26, "a": 26, "0": 10}
    return {
        ord(first) + step: start + step
        for first, start in starts.items()
        for step in range(counts[first])
    }


_BOLD = _bold()


def base64_of(text: str) -> str:
    """Standard base64 of UTF-8."""
    return base64.b64encode(text.encode()).decode()


def base64url(text: str) -> str:
    """Base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def base64_lines(text: str) -> str:
    """Base64 in lines, as in mail."""
    return "\n".join(re.findall(f".{{1,{LINE}}}", base64_of(text)))


def hex_spaced(text: str) -> str:
    """Pairs of hex digits."""
    return text.encode().hex(" ")


def percent_all(text: str) -> str:
    """Every byte escaped, even if a URL does not need it."""
    return "".join(f"%{byte:02X}" for byte in text.encode())


def html_entities(text: str) -> str:
    """Character references, decimal and hexadecimal in turns."""
    return "".join(
        f"&#x{ord(letter):X};" if place % 2 else f"&#{ord(letter)};"
        for place, letter in enumerate(text)
    )


def js_escapes(text: str) -> str:
    """Escapes of UTF-16 units, as in JavaScript and JSON."""
    units = text.encode("utf-16-be")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


def quoted_printable(text: str) -> str:
    """Every byte escaped, with soft line breaks (RFC 2045, section 6.7)."""
    escaped = [f"={byte:02X}" for byte in text.encode()]
    lines = ["".join(escaped[start : start + 25]) for start in range(0, len(escaped), 25)]
    return "=\n".join(lines)


def json_string(text: str) -> str:
    """A member of a JSON object that is itself text."""
    return json.dumps({"data": text})


def bidi(text: str) -> str:
    """The text backwards, between marks that have it shown forwards."""
    return f"{OVERRIDE}{text[::-1]}{POP}"


def spaced(text: str) -> str:
    """A space after each character."""
    return " ".join(text)


def dotted(text: str) -> str:
    """Full stops between the letters of each word."""
    return re.sub(r"\S+", lambda word: ".".join(word[0]), text)


def between(mark: str, text: str) -> str:
    """An invisible mark between the characters of each word."""
    return re.sub(r"\S+", lambda word: mark.join(word[0]), text)


def combining(text: str) -> str:
    """An accent on each letter and digit."""
    return "".join(letter + ACUTE if letter.isalnum() else letter for letter in text)


def tags(text: str) -> str:
    """Tag characters, which are invisible, for ASCII; other characters stay."""
    return "".join(chr(TAGS + ord(letter)) if " " <= letter <= "~" else letter for letter in text)


def variation_selectors(text: str) -> str:
    """An emoji, then a variation selector for each byte."""
    return BASE_OF_SELECTORS + "".join(
        chr(0xFE00 + byte) if byte < 16 else chr(0xE0100 + byte - 16) for byte in text.encode()
    )


def sub_domains(text: str) -> str:
    """Base 32, which needs no case, as labels of a host name."""
    written = base64.b32encode(text.encode()).decode().rstrip("=").lower()
    labels = [written[start : start + LABEL] for start in range(0, len(written), LABEL)]
    return f"https://{'.'.join(labels)}.{SINK}/"


def markdown_comment(text: str) -> str:
    """A link definition, which Markdown does not show."""
    return f"[//]: # ({text})"


DISGUISES: Mapping[str, Disguise] = {
    "text": str,
    "base64": base64_of,
    "base64url": base64url,
    "base64-lines": base64_lines,
    "base64-twice": lambda text: base64_of(base64_of(text)),
    "hex": lambda text: text.encode().hex(),
    "hex-spaced": hex_spaced,
    "hex-in-base64": lambda text: base64_of(text.encode().hex()),
    "base32": lambda text: base64.b32encode(text.encode()).decode(),
    "percent": lambda text: quote(text, safe=""),
    "percent-all": percent_all,
    "html-entities": html_entities,
    "js-escapes": js_escapes,
    "quoted-printable": quoted_printable,
    "json-string": json_string,
    "json-string-twice": lambda text: json_string(json_string(text)),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "reversed": lambda text: text[::-1],
    "leet": lambda text: text.translate(_LEET),
    "spaced": spaced,
    "dotted": dotted,
    "run-together": lambda text: re.sub(r"\s+", "", text),
    "zero-width": lambda text: between(ZERO_WIDTH_SPACE, text),
    "soft-hyphen": lambda text: between(SOFT_HYPHEN, text),
    "tags": tags,
    "bidi": bidi,
    "combining": combining,
    "confusables": lambda text: text.translate(_LOOK_ALIKES),
    "fullwidth": lambda text: text.translate(_WIDE),
    "math-bold": lambda text: text.translate(_BOLD),
    "gzip-base64": lambda text: base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode(),
    "zlib-base64": lambda text: base64.b64encode(zlib.compress(text.encode())).decode(),
    "variation-selectors": variation_selectors,
    "sub-domains": sub_domains,
    "html-comment": lambda text: f"<!-- {text} -->",
    "markdown-comment": markdown_comment,
}
SPLITS = ("split-blocks", "split-fields", "split-array", "split-keys")
VIEWS = (*DISGUISES, *SPLITS)


def split(text: str) -> list[str]:
    """Cut a text into pieces: a sentence between words, for each to read well; a key anywhere."""
    cuts = [len(text) * part // PIECES for part in range(1, PIECES)]
    if len(text.split()) >= WORDS_TO_SPLIT:
        cuts = [_after_space(text, cut) for cut in cuts]
    return list(_pieces(text, cuts))


def _after_space(text: str, cut: int) -> int:
    ends = [space.end() for space in re.finditer(r"\s+", text)]
    return min(ends, key=lambda place: abs(place - cut))


def _pieces(text: str, cuts: list[int]) -> Iterator[str]:
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        if end > start:
            yield text[start:end]
