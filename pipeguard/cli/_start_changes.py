"""What has changed since a server was started isolated last. Not a command itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.cli._extent_report import short_path, wrapped
from pipeguard.core.unicode.display import visible
from pipeguard.isolation.extent import GIVEN, ITS_PROGRAM, POLICY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.isolation.extent import Extent
    from pipeguard.isolation.last_starts import LastStart

    Grants = Mapping[str, Sequence[str]]
NEXT_START = "From its next start"
_WORDS = {"hosts": "{}", "loopback": "port {}", "roots": "the client's roots, to {}"}


class StartChanges(NamedTuple):
    """How what a server is given at its next start differs from what it was given last.

    Attributes:
        more: what it is given besides, by key of the policy.
        less: what it is given no longer, likewise.
        problem: why it is not known, or it would not start; empty where it is.
    """

    more: Grants
    less: Grants
    problem: str = ""

    def lines(self) -> Iterator[str]:
        """For people; nothing where nothing differs."""
        if self.problem:
            yield from wrapped(f"At its next start: {visible(self.problem)}", "  ")
        if self.more:
            yield from wrapped(f"{NEXT_START} it is also given {_listed(self.more)}.", "  ")
        if self.less:
            yield from wrapped(f"{NEXT_START} it is no longer given {_listed(self.less)}.", "  ")

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.more or self.less or self.problem)


def changes_of_policy(start: LastStart, entries: Sequence[IsolateEntry]) -> StartChanges:
    """What the policy gives now of what it did not when the server was started, and conversely."""
    from pipeguard.errors import PipeGuardError
    from pipeguard.runtime.isolation_sources import granted

    try:
        profile = granted(entries)
    except PipeGuardError as error:
        return StartChanges({}, {}, str(error))
    now = {kind: list(map(str, getattr(profile, kind))) for kind in GIVEN}
    now["roots"] = [profile.roots] if profile.roots else []
    now["keep_home"] = ["keep_home"] if profile.keeps_home else []
    before = _grants(start.extent)
    by_policy = {
        kind: [each.what for each in getattr(start.extent, kind) if each.why == POLICY]
        for kind in GIVEN
    }
    return StartChanges(_besides(now, before), _besides(by_policy, now))


def changes_of_extent(start: LastStart, extent: Extent) -> StartChanges:
    """What a server would be given now of what it was not when it was started, and conversely."""
    before, now = _grants(start.extent), _grants(extent)
    return StartChanges(_besides(now, before), _besides(before, now))


def _grants(extent: Extent) -> dict[str, list[str]]:
    """What an extent has, without what the server's program needs."""
    grants = {
        kind: [each.what for each in getattr(extent, kind) if each.why != ITS_PROGRAM]
        for kind in GIVEN
    }
    grants["roots"] = [extent.roots] if extent.roots else []
    grants["keep_home"] = ["keep_home"] if extent.kept_home else []
    return grants


def _besides(ones: Grants, others: Grants) -> dict[str, list[str]]:
    """What the first have and the others do not give, not with a folder that holds it either."""
    from pipeguard.isolation.sandbox import this_host
    from pipeguard.isolation.walls.grants import PATHS, is_given_with

    host = this_host()
    found = {}
    for kind, values in ones.items():
        held = [*others.get(kind, ()), *(others.get("write", ()) if kind == "read" else ())]
        found[kind] = [
            each
            for each in values
            if each not in held
            and not (kind in PATHS and any(is_given_with(each, path, host) for path in held))
        ]
    return {kind: values for kind, values in found.items() if values}


def _listed(grants: Grants) -> str:
    words = (
        _WORDS.get(kind, f"{kind} {{}}").format(visible(short_path(value)))
        if kind != value
        else "a home that it keeps"
        for kind, values in grants.items()
        for value in values
    )
    return ", ".join(words)
