"""The globs of a policy's entries, each checked: a glob for nothing, or everything, is wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from pipeguard.firewall.lazy_regex import lazy_regex

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeguard.config.strict_yaml import YamlEntry

_T = TypeVar("_T")
_RULE_GLOB = lazy_regex(r"[a-z0-9.*?\[\]!-]+")
_CONTENT = lazy_regex(r"[0-9a-f]{32}(?: [0-9a-f]{32})*")  # one of each rule
_HOST_GLOB = lazy_regex(r"[^\sA-Z/@#%]{1,253}")


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
