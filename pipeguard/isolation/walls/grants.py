"""The grant that answers an event at a wall: exactly that, or why it is not offered.

Looks at the machine as it is when the person decides. A server chose the path: what it leads to is
what is shown and given.
"""

# the functions that the other modules of this package use
from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.errors import PolicyError
from pipeguard.isolation.egress.addresses import is_metadata
from pipeguard.isolation.egress.hosts import (
    DEFAULT_PORTS,
    PRIVATE,
    HostError,
    parse_authority,
    parse_port,
)
from pipeguard.isolation.egress.recording import allowing_entry
from pipeguard.isolation.learning.reduction import SHARED, show_path
from pipeguard.isolation.run_later import holder_of_later, is_held_back
from pipeguard.isolation.sensitive import find_holder, is_inside
from pipeguard.isolation.view import SYSTEM
from pipeguard.unicode.display import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.isolation.view import SandboxUser


MAX_LISTED = 4
READ, WRITE, PORT = "isolation.read", "isolation.write", "isolation.port"
ADDRESS = "egress.address"


class Mention(NamedTuple):
    """A file that a failed answer names.

    Attributes:
        rule: READ or WRITE.
        path: absolute.
    """

    rule: str
    path: str


class Wall(NamedTuple):
    """A wall that a server hit.

    Attributes:
        rule: READ, WRITE, or the rule of a refused connection.
        subject: a path, a port, or a host with its port unless that is one of the web's.
        event: names it in the audit.
        entry: of a refused connection, the entry of the policy that would allow it; empty if no
            event does. None for a file.
    """

    rule: str
    subject: str
    event: str
    entry: str | None = None


Needless = dict[str, list[str]]
PATHS = ("read", "write")
LISTS = (*PATHS, "hosts", "loopback")
FLAGS = ("roots", "keep_home")
KINDS = {READ: "read", WRITE: "write", PORT: "loopback"}


class WallGrant(NamedTuple):
    """One more thing for a server.

    Attributes:
        kind: the key of the policy: `hosts`, `read`, `write` or `loopback`.
        value: as the policy writes it.
        opens: what the server may then do, as the end of a sentence.
        is_live: whether it holds for a server that runs.
        holds: what is in a folder that has to be named by itself, and stays covered.
        hint: how to give more than this, as a sentence; or empty.
    """

    kind: str
    value: str | int
    opens: str
    is_live: bool = True
    holds: tuple[str, ...] = ()
    hint: str = ""

    def describe_start(self, server: str) -> str:
        """Say in a sentence from when a server has it."""
        if self.is_live:
            return "It applies within a second, also to running servers."
        return (
            f"It applies from the next start of {visible(server)}: restart it in its client, or"
            " restart `pipeguard serve` if it runs behind that."
        )


def find_grant(
    findings: Sequence[Mapping[str, str]],
    host: SandboxUser,
    port: int | None = None,
    *,
    is_wide: bool = False,
    server: str = "NAME",
) -> WallGrant | None:
    """The grant that would have let a server through a wall; None for other events.

    Args:
        findings: the event's, as the audit has them.
        host: this machine and its user.
        port: of the host, where the event does not say which.
        is_wide: whether a folder may be one that holds what has to be named by itself.
        server: as a policy's entry names it, for what is not offered.

    Raises:
        NothingThereError: a file that does not exist.
        PolicyError: it is not offered, with what to do instead.
    """
    for finding in findings:
        rule = finding.get("rule", "")
        if rule in {READ, WRITE}:
            return _file(rule, finding.get("path", ""), host, server, is_wide=is_wide)
        if rule == PORT:
            number = parse_port(finding.get("excerpt", ""))
            return WallGrant("loopback", number, f"connect to port {number} of this machine")
        if rule.startswith("egress.") and (entry := allowing_entry(finding)) is not None:
            return _host(entry, port)
        if rule.startswith("egress."):
            _check_credentials(finding.get("excerpt", ""), server)
    return None


class NothingThereError(PolicyError):
    """Nobody can give a file that does not exist, or never was on this machine."""


def _by_hand(server: str, key: str, value: str) -> str:
    """The entry of a policy that gives what no command does."""
    return (
        " If you want that, write it yourself: put this line under `isolate:` in the file that"
        " `pipeguard policy path` names, indented like the entries there; then restart the server:"
        f"\n- {{server: {json.dumps(server)}, {key}: {value}}}"
    )


def _check_credentials(destination: str, server: str) -> None:
    """Refuse a host that gives out this machine's own credentials: a person names it by hand."""
    try:
        target = parse_authority(destination, default_port=443)
    except HostError:
        return
    if is_metadata(target.host):
        raise PolicyError(
            f"{target.host} gives out this machine's own credentials, and has to be named by hand."
            f"{_by_hand(server, 'hosts', json.dumps([destination]))}"
        )


def _host(entry: str, port: int | None) -> WallGrant:
    name, equals, private = entry.partition("=")
    try:
        target = parse_authority(name, default_port=0)
    except HostError as error:
        raise PolicyError(str(error)) from None
    if port is not None:
        if target.port not in {0, port}:
            raise PolicyError(f"--port {port}: the event is about port {target.port}.")
        name = f"{name.removesuffix(f':{port}')}:{port}"
    elif target.port == 0:
        ports = " and ".join(map(str, sorted(DEFAULT_PORTS, reverse=True)))
        opens = f"send to {name} at ports {ports}{_PRIVATE if private else ''}"
        return WallGrant("hosts", entry, opens, hint="For another port: --port NUMBER.")
    opens = f"send to {name}{_PRIVATE if private else ''}"
    return WallGrant("hosts", f"{name}{equals}{private}", opens)


_PRIVATE = ", also where the name leads into a private network"


def needless(grant: WallGrant, entries: Iterable[IsolateEntry], host: SandboxUser) -> Needless:
    """By key, what entries give that this makes needless: of a folder itself, and what is in it.

    Not what is named for itself, since the folder would not give it. Of `HOST=private`, `HOST`.
    """
    if grant.kind not in PATHS:
        plain = str(grant.value).removesuffix(PRIVATE).lower()
        hosts = [text for entry in entries for text in entry.hosts if text.lower() == plain]
        is_private = grant.kind == "hosts" and str(grant.value).endswith(PRIVATE)
        return {"hosts": hosts} if hosts and is_private else {}
    folder = absolute(str(grant.value), host)
    found: dict[str, list[str]] = {}
    for kind in PATHS if grant.kind == "write" else PATHS[:1]:
        for text in dict.fromkeys(text for entry in entries for text in getattr(entry, kind)):
            path = absolute(text, host)
            is_same = path == folder and kind != grant.kind
            is_in_it = path != folder and has_folder_grant(path, folder, host)
            if is_same or (is_in_it and os.path.realpath(path) == path):
                found.setdefault(kind, []).append(text)
    return found


def list_grants(entries: Sequence[IsolateEntry]) -> list[tuple[str, str]]:
    """List all that entries give, each with its key."""
    found: dict[tuple[str, str], None] = {}
    for entry in entries:
        for key in LISTS:
            found |= dict.fromkeys((key, value) for value in getattr(entry, key))
        found |= dict.fromkeys((key, key) for key in FLAGS if getattr(entry, key))
    return list(found)


def is_covered(entry: IsolateEntry, grant: WallGrant, host: SandboxUser) -> bool:
    """True if an entry of a policy gives this, by itself or with the folder that it is in."""
    if grant.kind not in PATHS:
        return str(grant.value) in getattr(entry, grant.kind)
    path = absolute(str(grant.value), host)
    given = (*entry.write, *(entry.read if grant.kind == "read" else ()))
    return any(has_folder_grant(path, absolute(text, host), host) for text in given)


def has_folder_grant(path: str, folder: str, host: SandboxUser) -> bool:
    """True if a grant of a folder covers a path in it, or that folder."""
    is_held = is_held_back(path, folder, host.home, host.sensitive)
    return is_inside(path, folder) and not is_held


def absolute(text: str, host: SandboxUser) -> str:
    """The path of a grant as the policy writes it, without following links."""
    is_of_home = text == "~" or text.startswith("~/")
    return os.path.normpath(f"{host.home}{text[1:]}" if is_of_home else os.path.join("/", text))


def _file(rule: str, path: str, host: SandboxUser, server: str, *, is_wide: bool) -> WallGrant:
    try:
        real = os.path.realpath(path)
    except OSError as error:  # as of /proc/1/root, which a server may name
        raise PolicyError(
            f"{visible(path)} leads through a link that cannot be followed ({error.strerror}), and"
            f" has to be named by hand.{_by_hand(server, KINDS[rule], json.dumps([path]))}"
        ) from None
    if not os.path.isabs(path) or not path.isprintable() or not real.isprintable():
        raise PolicyError(f"{visible(path)!r} is no path that a policy can have.")
    if not os.path.exists(real):
        folder = os.path.dirname(real)
        if rule == READ or not os.path.isdir(folder):
            raise NothingThereError(
                f"{visible(path)}: there is no such file or folder on this machine, so there is"
                " nothing to give. If the server is to make it, make its folder first where there"
                " is none, and give it that: --write FOLDER, or `write` in your policy."
            )
        real = folder
    is_folder = os.path.isdir(real)
    holds = tuple(_sensitive_paths(real, host)) if is_folder else ()
    by_hand = _by_hand(server, KINDS[rule], json.dumps([show_path(real, host.home)]))
    _check_offered(rule, (path, real), host, by_hand, is_wide=is_wide)
    if holds and not is_wide:
        raise PolicyError(
            f"{visible(show_path(real, host.home))} holds what has to be named by hand:"
            f" {_list_paths(holds)}. That stays covered, and all else in it would be given; if you"
            " want that, add --wide to `pipeguard allow`."
        )
    verb = "read" if rule == READ else "read and change"
    value = show_path(real, host.home)
    quoted = json.dumps(value, ensure_ascii=False)  # a name may read as more of the sentence
    what = f"{quoted}, and what is in it" if is_folder else quoted
    leads = "" if is_inside(path, real) else f" ({visible(path)} leads there)"
    opens = f"{verb} {what}{leads}"
    return WallGrant(
        KINDS[rule], value, opens, is_live=False, holds=holds, hint=_hint(rule, real, host)
    )


def _hint(rule: str, real: str, host: SandboxUser) -> str:
    if os.path.isdir(real):
        named = visible(show_path(real, host.home))
        more = f"To have it make or change files there: --write {named}, or `write`."
        return more if rule == READ else ""
    folder = os.path.dirname(real)
    if rule == READ or is_inside(host.home, folder) or folder in SHARED:
        return ""
    named = visible(show_path(folder, host.home))
    return (
        f"If it renames a new file to this one, it needs the folder: --write {named}, or `write`."
    )


def _sensitive_paths(folder: str, host: SandboxUser) -> Iterator[str]:
    """Paths in a folder that must be named by themselves, outermost only."""
    inside = sorted(each for each in host.sensitive if is_inside(each, folder))
    there = [each for each in inside if os.path.lexists(each)]
    for each in there:
        if not any(each != outer and is_inside(each, outer) for outer in there):
            yield show_path(each, host.home)


def _list_paths(paths: Sequence[str]) -> str:
    named = ", ".join(visible(each) for each in paths[:MAX_LISTED])
    return named if len(paths) <= MAX_LISTED else f"{named} and {len(paths) - MAX_LISTED} more"


def _place(path: str, holder: str, host: SandboxUser) -> str:
    """The subject of a sentence about what holds a path; often that is the path itself."""
    shown = visible(show_path(holder, host.home))
    return shown if path == holder else f"{visible(path)} is in {shown}, which"


def _check_offered(
    rule: str, paths: tuple[str, str], host: SandboxUser, by_hand: str, *, is_wide: bool
) -> None:
    """Refuse what a person has to name by hand.

    Raises:
        PolicyError: it is that.
    """
    key, (path, real) = KINDS[rule], paths
    for each in paths:
        if is_inside(each, host.packages):
            raise PolicyError(
                f"{visible(path)}: no server changes its own package or reads another's. Look for"
                " a setting that puts its files elsewhere."
            )
        if (holder := find_holder(each, host.sensitive)) is not None:
            raise PolicyError(
                f"{_place(path, holder, host)} has to be named by hand: it may hold keys or"
                f" logins, or decide what runs later.{by_hand}"
            )
        if rule == WRITE and (holder := holder_of_later(each, host.home)) is not None:
            raise PolicyError(
                f"{_place(path, holder, host)} has to be named by hand: your programs run"
                f" what is in it, outside.{by_hand}"
            )
    is_system = rule == WRITE and any(is_inside(real, each) for each in SYSTEM)
    is_home = real == host.home and not is_wide
    is_above = real != host.home and is_inside(host.home, real)
    if is_system or real in SHARED or is_home or is_above:
        wide = ", or all of it with --wide" if is_home else ""
        raise PolicyError(
            f"{visible(show_path(real, host.home))} is given to no server as a whole. Give it a"
            f" folder in it: `{key}: [...]` under `isolate`, in the file that `pipeguard policy"
            f" path` names{wide}."
        )
