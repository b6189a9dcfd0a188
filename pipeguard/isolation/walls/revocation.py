"""The policy change that takes one grant back from a server, or why that is not enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipeguard.errors import PolicyError
from pipeguard.isolation.egress.hosts import PRIVATE, HostError, parse_entry, reaches
from pipeguard.isolation.sensitive import is_inside
from pipeguard.isolation.walls.grants import PATHS, absolute
from pipeguard.unicode.display import quote, visible

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
        left: what the server is still given of it, in sentences, each on a line; or empty.
    """

    dropped: dict[str, list[str]]
    is_live: bool
    left: str


def list_grants(entries: Sequence[IsolateEntry]) -> list[tuple[str, str]]:
    """All that entries give, each with its key: what can be named to be taken back."""
    found: dict[tuple[str, str], None] = {}
    for entry in entries:
        for key in LISTS:
            found |= dict.fromkeys((key, value) for value in getattr(entry, key))
        found |= dict.fromkeys((key, key) for key in FLAGS if getattr(entry, key))
    return list(found)


def plan_revocation(
    name: str,
    what: str,
    own: Sequence[IsolateEntry],
    others: Sequence[IsolateEntry],
    host: SandboxUser,
) -> GrantRevocation | None:
    """The change; None where nothing gives that.

    Args:
        name: of the server.
        what: a path, host or port as the policy has it, or a key that has no list.
        own: the entries for this server alone.
        others: those that are for other servers too.
        host: this machine and its user.

    Raises:
        PolicyError: it cannot be taken from this server alone, or by itself.
    """
    dropped: dict[str, list[str]] = {}
    for key, value in list_grants(own):
        if _is_same(what, key, value, host):
            dropped.setdefault(key, []).append(value)
    wider = next(_wider(what, others, host), "")
    if not dropped and wider:
        raise PolicyError(
            f"{visible(what)} is given by {wider}, which is for other servers too. Change that in"
            " the file that `pipeguard policy path` names."
        )
    around = _folder_around(what, own, host) or ("" if dropped else _host_around(what, own))
    if not dropped and around:
        raise PolicyError(
            f"{visible(what)} is given with {visible(around)}, and cannot be taken back by itself."
            f" Take that back: {revocation_command(name, around)}"
        )
    if not dropped:
        return None
    left = [f"It is still given by {wider}."] if wider else []
    if around and not wider:
        again = revocation_command(name, around)
        left = [f"It is still given with {visible(around)}. Take that back too: {again}"]
    for other in _elsewhere(what, own, dropped):
        again = revocation_command(name, other)
        left.append(f"It stays reachable as {visible(other)}. Take that back too: {again}")
    return GrantRevocation(dropped, dropped.keys() <= LIVE, "\n".join(left))


def revocation_command(name: str, what: str) -> str:
    """The command that takes one thing from a server."""
    start = "~/" if what.startswith("~/") and len(what) > len("~/") else ""
    return f"pipeguard isolate revoke {quote(name)} {start}{quote(what.removeprefix(start))}"


def _elsewhere(
    what: str, own: Sequence[IsolateEntry], dropped: dict[str, list[str]]
) -> Iterator[str]:
    """Hosts that stay and lead to one that goes: at other ports, or by a pattern."""
    if "hosts" not in dropped:
        return
    name = _policy_name(what)
    for value in dict.fromkeys(value for entry in own for value in entry.hosts):
        other = _policy_name(value)
        if value not in dropped["hosts"] and (
            name == other or (other.startswith("*.") and name.endswith(other[1:]))
        ):
            yield value


def _policy_name(entry: str) -> str:
    """The name of a host as the policy has it, without port and `=private`."""
    name = entry.lower().partition("=")[0]
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0] if name.count(":") == 1 else name


def _wider(what: str, others: Sequence[IsolateEntry], host: SandboxUser) -> Iterator[str]:
    for entry in others:
        given = list_grants([entry])
        is_host = any(key == "hosts" and reaches(value, what) for key, value in given)
        if is_host or any(_is_same(what, key, value, host) for key, value in given):
            named = (
                f"tag: {visible(entry.tag)}" if entry.tag else f"server: {visible(entry.server)}"
            )
            yield f"the entry `{named}`"


def _folder_around(what: str, own: Sequence[IsolateEntry], host: SandboxUser) -> str:
    if not what.startswith(("/", "~")):
        return ""
    path = absolute(what, host)
    for key, value in list_grants(own):
        folder = absolute(value, host) if key in PATHS else path
        if folder != path and is_inside(path, folder):
            return value
    return ""


def _host_around(what: str, own: Sequence[IsolateEntry]) -> str:
    """The grants of a host without an entry: a domain that it is below, or another port of it."""
    given = (text for entry in own for text in entry.hosts)
    return next((text for text in given if reaches(text, what)), "")


def _is_same_host(what: str, value: str) -> bool:
    """True if a host is meant; one without `=private` in both forms."""
    if what.endswith(PRIVATE):
        return what.lower() == value.lower()
    try:
        return parse_entry(what) == parse_entry(value.strip().removesuffix(PRIVATE))
    except HostError:
        return what.lower() == value.lower()


def _is_same(what: str, key: str, value: str, host: SandboxUser) -> bool:
    if key in PATHS:
        return what.startswith(("/", "~")) and absolute(what, host) == absolute(value, host)
    if key == "hosts":
        return _is_same_host(what, value)
    return what.lower() == value.lower()
