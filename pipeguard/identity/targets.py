"""What a command launches, as a value, and whether its name says that it is a server."""

from __future__ import annotations

import re

from pipeguard.identity import launchers
from pipeguard.identity.url_names import URL, identity_of_url

# Kinds whose names are local to a folder, so that they say nothing: files and tasks.
_LOCAL_KINDS = frozenset(
    {"path", *(f"{starter} project" for starter in launchers.SCRIPTS | launchers.TARGETS)}
)
_REGISTRY_KINDS = frozenset({"npm", "pypi", "nuget", "image"})


class LaunchTarget:
    """What a command launches.

    Attributes:
        stem: the server's short name.
        kind: its kind, as `npm`, `path` or `url`.
        parts: texts that tell it from others of its kind; the first describes it.
        is_unique: whether the stem alone tells it from other servers.
    """

    __slots__ = ("is_unique", "kind", "parts", "stem")

    def __init__(self, stem: str, kind: str, *parts: str, is_unique: bool = False) -> None:
        self.stem = stem
        self.kind = kind
        self.parts = parts
        self.is_unique = is_unique


def target_at(url: str) -> LaunchTarget:
    """The server at an address, named by its host and path."""
    matched = re.match(URL, url)
    if matched is None:
        return LaunchTarget("server", "url", url)
    host = matched[1].rpartition("@")[2].lower()
    segments = [part for part in matched[2].split("/") if part not in ("", "mcp", "sse", "ws")]
    name = "-".join([host.replace(":", "-"), *segments])
    return LaunchTarget(name, "url", identity_of_url(url), is_unique=True)


def is_server(target: LaunchTarget) -> bool:
    """Whether a package or a program is a server, judging by its name."""
    if target.kind in _LOCAL_KINDS and not (target.kind == "path" and target.is_unique):
        return False
    name = (target.parts[0] if target.kind in _REGISTRY_KINDS else target.stem).lower()
    return ("mcp" in name or "server" in name) and not leads_elsewhere(target.stem)


def leads_elsewhere(stem: str) -> bool:
    """Whether a name is that of a proxy, launcher or the like, which leads to another server."""
    return not launchers.LEADING.isdisjoint(stem.lower().replace("_", "-").split("-"))
