"""The values of a policy's entries, each checked: globs, counts, sizes and times.

A glob for nothing, or everything, is wrong.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pipeguard.firewall.lazy_regex import lazy_regex

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeguard.config.strict_yaml import YamlEntry

_T = TypeVar("_T")
_RULE_GLOB = lazy_regex(r"[a-z0-9.*?\[\]!-]+")
_CONTENT = lazy_regex(r"[0-9a-f]{32}(?: [0-9a-f]{32})*")  # one of each rule
_HOST_GLOB = lazy_regex(r"[^\sA-Z/@#%]{1,253}")
TIMEOUT_SECONDS = (1.0, 86_400.0)
_NUMBER = lazy_regex(r"(\d{1,12}(?:\.\d{1,6})?)\s*([A-Za-z]*)")
SIZES = {
    "": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9,
}  # fmt: skip
_TIMES = {"": 1, "s": 1, "min": 60, "h": 3600}


def parse_choice(entry: YamlEntry | None, words: Mapping[str, _T]) -> _T | None:
    """One of several words, None without an entry; any other value is wrong."""
    return None if entry is None else entry.choice(words)


def read_keys(
    keys: Mapping[str, YamlEntry], readers: Mapping[str, Callable[[YamlEntry], object]]
) -> dict[str, Any]:
    """The values of the keys that are there, each read by the function of its name."""
    return {name: read(keys[name]) for name, read in readers.items() if name in keys}


def parse_each(
    entry: YamlEntry | None, convert: Callable[[YamlEntry], _T | None]
) -> tuple[_T, ...]:
    """The values of a list's entries, without wrong ones."""
    if entry is None:
        return ()
    values = [convert(item) for item in entry.items()]
    return tuple(value for value in values if value is not None)


def parse_glob(entry: YamlEntry) -> str:
    """A glob; one that can match nothing is wrong."""
    text = entry.text()
    if text is None:
        return "*"
    if text != text.strip():
        entry.wrong("a glob neither begins nor ends with a space")
    if re.search(r"\[(?!!?\]?[^\]]*\])", text):
        entry.wrong("`[` opens a set of characters that never closes. The character is `[[]`.")
    return text


def parse_rule(entry: YamlEntry) -> str:
    """A glob of rules; a rule is a pack, a dot and a name."""
    text = parse_glob(entry)
    if not _RULE_GLOB.fullmatch(text):
        entry.wrong(
            "a rule is a pack, a dot and a name, such as `secrets.github-token`; globs are allowed"
        )
    return text


def parse_place(entry: YamlEntry) -> str:
    """A glob of places; a glob that no place fits is wrong."""
    text = parse_glob(entry)
    from pipeguard.firewall.protocol.places import find_places, known_places

    if find_places(text):
        return text
    from pipeguard.unicode.display import suggestion

    entry.wrong(f"no place matches `{text[:60]}`.{suggestion(text, known_places())}")
    return text


def parse_content(entry: YamlEntry) -> str:
    """A fingerprint, or several."""
    text = entry.text()
    if text is not None and not _CONTENT.fullmatch(text):
        entry.wrong("expected the 32 digits of a fingerprint, which `pipeguard allow EVENT` writes")
    return text or ""


def parse_path(entry: YamlEntry) -> str:
    """A glob of paths."""
    text = parse_glob(entry)
    if not text.strip("*?/") and text != "/":
        entry.wrong("it would match every file: name a folder or a file, such as `/srv/docs/*`")
    elif ".." in text.split("/") or "//" in text or "\\" in text:
        entry.wrong("write a path with single slashes and without `..`, such as `/srv/docs/*`")
    return text


def parse_host(entry: YamlEntry) -> str:
    """A glob of hosts."""
    text = parse_glob(entry)
    if not _HOST_GLOB.fullmatch(text) or not text.strip("*?."):
        entry.wrong("expected a host in lower case, such as `docs.example.com` or `*.example.com`")
    return text


def parse_launch(entry: YamlEntry) -> str:
    """A glob of what a server launches: its kind, a blank and its name, or `*` for everything."""
    text = parse_glob(entry)
    kind, blank, name = text.partition(" ")
    if text != "*" and not (kind and blank and name):
        entry.wrong(
            "expected what is launched, such as `npm @scope/*`, `url mcp.example.com` or `*`"
        )
        return text
    from pipeguard.identity.launchers import WORDS
    from pipeguard.identity.things import KINDS

    if text != "*" and kind not in KINDS:
        kinds = ", ".join(WORDS.in_order("KINDS"))
        entry.wrong(f"nothing launched is of the kind `{kind[:60]}`. Kinds are {kinds}, and others")
    return text


def parse_globs(entry: YamlEntry | None, parse: Callable[[YamlEntry], str]) -> tuple[str, ...]:
    """A list of globs of tools or servers."""
    globs = parse_each(entry, parse)
    if entry and entry.key.endswith(".allow") and not globs:
        what = entry.key.partition(".")[0]
        entry.wrong(f"an empty list would allow all {what}. To block all: `block: ['*']`.")
    return globs


def read_count(
    entry: YamlEntry | None,
    bounds: tuple[int, int],
    units: Mapping[str, int] = {"": 1},
    expected: str = "a whole number, as 10000",
) -> int | None:
    """Read a number between two bounds; None, and noted at its entry, if it is wrong."""
    number = _measure(entry, bounds, units, expected)
    return None if number is None else int(number)


read_size = partial(
    read_count,
    units=SIZES,
    expected="a size such as 16 MiB or 512 KiB, or a number of bytes",
)


def read_seconds(
    entry: YamlEntry | None, bounds: tuple[float, float] = TIMEOUT_SECONDS
) -> float | None:
    """Read a time between two bounds, in seconds; None, and noted at its entry, if it is wrong."""
    expected = "a time such as 300 s, 5 min or 1 h, or a number of seconds"
    return _measure(entry, bounds, _TIMES, expected)


def _measure(
    entry: YamlEntry | None, bounds: tuple[float, float], units: Mapping[str, int], expected: str
) -> float | None:
    """A number between two bounds in the smallest of several units; other values are wrong."""
    text = entry.text() if entry else None
    if entry is None or text is None:
        return None
    match = _NUMBER.fullmatch(text)
    number = float(match[1]) * units.get(match[2], 0) if match else 0
    if not number or (units is not _TIMES and number != int(number)):
        entry.wrong(f"expected {expected}")
        return None
    if not bounds[0] <= number <= bounds[1]:
        least, most = (in_largest_unit(bound, units) for bound in bounds)
        entry.wrong(f"expected at least {least} and at most {most}")
    return number


def in_largest_unit(number: float, units: Mapping[str, int]) -> str:
    """Write a number as a file can have it."""
    whole = [(size, unit) for unit, size in units.items() if number % size == 0]
    size, unit = max(whole, default=(1, "s"))
    return f"{int(number // size) if whole else number} {unit}".rstrip()
