"""What taking one grant back from a server removes from the policy, or why that is not enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipeguard.core.unicode.display import visible
from pipeguard.errors import PolicyError
from pipeguard.isolation.sensitive import is_within
from pipeguard.isolation.walls.grants import PATHS, absolute

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.isolation.view import SandboxUser

LISTS = (*PATHS, "hosts", "loopback")
FLAGS = ("roots", "keep_home")
LIVE = frozenset({"hosts", "loopback"})


class GrantRevocation(NamedTuple):
    """One grant that is taken back.

    Attributes:
        dropped: by key of the policy, the values that go, as they are written.
        is_live: whether that holds for a server that runs.
        left: what the server is still given of it, as a sentence; or empty.
    """

    dropped: dict[str, list[str]]
    is_live: bool
    left: str


def grants_in(entries: Sequence[IsolateEntry]) -> list[tuple[str, str]]:
    """All that entries give, each with its key: what can be named to be taken back."""
    found: dict[tuple[str, str], None] = {}
    for entry in entries:
        for key in LISTS:
            found |= dict.fromkeys((key, value) for value in getattr(entry, key))
        found |= dict.fromkeys((key, key) for key in FLAGS if getattr(entry, key))
    return list(found)


def revocation_of(
    what: str, own: Sequence[IsolateEntry], others: Sequence[IsolateEntry], host: SandboxUser
) -> GrantRevocation | None:
    """What goes; None where nothing gives that.

    Args:
        what: a path, host or port as the policy has it, or a key that has no list.
        own: the entries for this server alone.
        others: those that are for other servers too.
        host: this machine and its user.

    Raises:
        PolicyError: it cannot be taken from this server alone, or by itself.
    """
    dropped: dict[str, list[str]] = {}
    for key, value in grants_in(own):
        if _is_same(what, key, value, host):
            dropped.setdefault(key, []).append(value)
    wider = next(_wider(what, others, host), "")
    if not dropped and wider:
        raise PolicyError(
            f"{visible(what)} is given by {wider}, which is for other servers too. Change that in"
            " the file that `pipeguard policy path` names."
        )
    around = _folder_around(what, own, host)
    if not dropped and around:
        raise PolicyError(
            f"{visible(what)} is given with {visible(around)}, and cannot be taken back by itself."
            f" Take that back: pipeguard isolate revoke SERVER {visible(around)}"
        )
    if not dropped:
        return None
    left = f"It is still given by {wider}." if wider else ""
    if around and not wider:
        left = f"It is still given with {visible(around)}."
    return GrantRevocation(dropped, dropped.keys() <= LIVE, left)


def _wider(what: str, others: Sequence[IsolateEntry], host: SandboxUser) -> Iterator[str]:
    for entry in others:
        if any(_is_same(what, key, value, host) for key, value in grants_in([entry])):
            named = (
                f"tag: {visible(entry.tag)}" if entry.tag else f"server: {visible(entry.server)}"
            )
            yield f"the entry `{named}`"


def _folder_around(what: str, own: Sequence[IsolateEntry], host: SandboxUser) -> str:
    if not what.startswith(("/", "~")):
        return ""
    path = absolute(what, host)
    for key, value in grants_in(own):
        folder = absolute(value, host) if key in PATHS else path
        if folder != path and is_within(path, folder):
            return value
    return ""


def _is_same(what: str, key: str, value: str, host: SandboxUser) -> bool:
    if key in PATHS:
        return what.startswith(("/", "~")) and absolute(what, host) == absolute(value, host)
    return what.lower() == value.lower()
