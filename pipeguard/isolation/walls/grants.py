"""The grant that answers an event at a wall: exactly that, or why it is not offered.

Looks at the machine as it is when the person decides. The server chose the path, so its target is
shown and granted.
"""

import datetime
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from os.path import dirname, exists, isabs, isdir, lexists, realpath
from typing import NamedTuple

from pipeguard.config.isolate_key import FLAGS, LISTS, IsolateEntries, IsolateEntry, find_entries
from pipeguard.errors import PolicyError
from pipeguard.isolation.egress import addresses, hosts, recording
from pipeguard.isolation.learning.reduction import SHARED
from pipeguard.isolation.profile import short_path, written_path
from pipeguard.isolation.run_later import holder_of_later, is_held_back
from pipeguard.isolation.sandbox import this_host
from pipeguard.isolation.sensitive import find_holder, is_in_any, is_inside, outermost
from pipeguard.isolation.view import SYSTEM, SandboxUser
from pipeguard.unicode.display import visible

MAX_LISTED = 4
READ, WRITE, PORT = "isolation.read", "isolation.write", "isolation.port"
PATHS = ("read", "write")
BY_HAND = (
    " It has to be named by hand, under `isolate` in the file that `pipeguard policy path` names."
)


class WallGrant(NamedTuple):
    """One more grant for a server.

    Attributes:
        kind: the key of the policy: `hosts`, `read`, `write` or `loopback`.
        value: as the policy writes it.
        opens: what the server may then do, as the end of a sentence.
        holds: paths in a folder that must be granted by name, and stay covered.
    """

    kind: str
    value: str | int
    opens: str
    holds: tuple[str, ...] = ()

    @property
    def is_live(self) -> bool:
        """True if it applies to a running server."""
        return self.kind == "hosts"

    def describe_start(self, server: str) -> str:
        """Describe in a sentence when the grant takes effect."""
        if self.is_live:
            return "It applies within a second, also to running servers."
        return (
            f"It applies from the next start of {visible(server)}: restart it in its client, or"
            " restart `pipeguard serve` if it runs behind that."
        )


def plan_grant(
    server: str, grant: WallGrant, path: str, today: datetime.date
) -> tuple[dict[str, object], bool]:
    """Plan the change of a policy file that grants something to a server.

    Args:
        server: its name.
        grant: the grant.
        path: the policy file, which need not exist.
        today: by the user's own calendar.

    Returns:
        The entry to add under `isolate`, and True if the policy does not give it already.

    Raises:
        PolicyError: the file is invalid.
    """
    from glob import escape

    from pipeguard.config.policy_edit import read_policy

    entries = read_policy(path, today)[1].isolate
    host = this_host()
    is_given = any(is_covered(each, grant, host) for each in find_entries(server, entries))
    return {"server": escape(server), grant.kind: [grant.value]}, not is_given


def find_wall_grant(
    findings: Sequence[Mapping[str, str]], port: int | None = None, *, is_wide: bool = False
) -> WallGrant | None:
    """Find the grant that would have let a server through a wall; None for other events.

    Args:
        findings: the event's, as the audit has them.
        port: of the host, if the event does not say which.
        is_wide: True if a folder may hold paths that have to be named by themselves.

    Raises:
        NothingThereError: a file that does not exist.
        PolicyError: it is not offered.
    """
    for finding in findings:
        rule = finding.get("rule", "")
        excerpt = finding.get("excerpt", "")
        if rule in {READ, WRITE}:
            return _grant_file(rule, finding.get("path", ""), this_host(), is_wide=is_wide)
        if rule == PORT:
            number = hosts.parse_port(excerpt)
            opens = f"connect to port {number} of this machine"
            return WallGrant("loopback", number, opens)
        if not rule.startswith("egress."):
            continue
        if entry := recording.allowing_entry(finding):
            return _grant_host(entry, port)
        with suppress(hosts.HostError):
            if addresses.is_metadata(hosts.parse_authority(excerpt, default_port=443).host):
                raise PolicyError(f"{excerpt} gives out this machine's own credentials.{BY_HAND}")
    return None


class NothingThereError(PolicyError):
    """The file does not exist, so it cannot be granted."""


def _grant_host(entry: str, port: int | None) -> WallGrant:
    name, equals, private = entry.partition("=")
    target = hosts.parse_authority(name, default_port=0)
    opens = f"send to {name}"
    if port is not None:
        if target.port not in {0, port}:
            raise PolicyError(f"--port {port}: the event is about port {target.port}.")
        name = f"{name.removesuffix(f':{port}')}:{port}"
        opens = f"send to {name}"
    elif target.port == 0:
        opens += f" at ports {' and '.join(map(str, sorted(hosts.DEFAULT_PORTS, reverse=True)))}"
    if private:
        opens += ", also where the name leads into a private network"
    return WallGrant("hosts", f"{name}{equals}{private}", opens)


def list_grants(entries: IsolateEntries) -> list[tuple[str, str]]:
    """List all grants of entries, each with its key."""
    found: dict[tuple[str, str], None] = {}
    for entry in entries:
        for key in LISTS:
            found |= dict.fromkeys((key, value) for value in getattr(entry, key))
        found |= dict.fromkeys((key, key) for key in FLAGS if getattr(entry, key))
    return list(found)


def is_covered(entry: IsolateEntry, grant: WallGrant, host: SandboxUser) -> bool:
    """True if an entry of a policy grants this, directly or with a surrounding folder."""
    if grant.kind not in PATHS:
        name, *private = str(grant.value).partition("=")
        wider = "".join((name.removesuffix(":80").removesuffix(":443"), *private))
        return not {str(grant.value), wider}.isdisjoint(map(str, getattr(entry, grant.kind)))
    path = written_path(str(grant.value), "/", host.home)
    given = (*entry.write, *(entry.read if grant.kind == "read" else ()))
    return any(
        is_inside(path, folder) and not is_held_back(path, folder, host.home, host.sensitive)
        for folder in (written_path(text, "/", host.home) for text in given)
    )


def _grant_file(rule: str, path: str, host: SandboxUser, *, is_wide: bool) -> WallGrant:
    try:
        real = realpath(path)
    except OSError as error:  # as of /proc/1/root, which a server may name
        why = f"leads through a link that cannot be followed ({error.strerror})"
        raise PolicyError(f"{visible(path)} {why}.{BY_HAND}") from None
    if not isabs(path) or not path.isprintable() or not real.isprintable():
        raise PolicyError(f"{visible(path)!r} is not a path that a policy can hold.")
    if not exists(real):
        real = dirname(real)
        if rule == READ or not isdir(real):
            raise NothingThereError(f"{visible(path)} is not on this machine: nothing to give.")
    _check_offered(rule, (path, real), host, is_wide=is_wide)
    is_folder = isdir(real)
    named = [each for each in host.sensitive if is_folder and is_inside(each, real)]
    there = outermost([*filter(lexists, named)])
    holds = tuple(short_path(each, host.home) for each in there)
    value = short_path(real, host.home)
    if holds and not is_wide:
        listed = ", ".join(visible(each) for each in holds[:MAX_LISTED])
        more = f" and {len(holds) - MAX_LISTED} more" if len(holds) > MAX_LISTED else ""
        raise PolicyError(
            f"{visible(value)} holds what has to be named by hand: {listed}{more}. That stays"
            " covered, and all else in it is given, with --wide."
        )
    quoted = json.dumps(value, ensure_ascii=False)  # a name may read as more of the sentence
    opens = f"{'read' if rule == READ else 'read and change'} {quoted}"
    opens += ", and what is in it" if is_folder else ""
    opens += "" if is_inside(path, real) else f" ({visible(path)} leads there)"
    return WallGrant("read" if rule == READ else "write", value, opens, holds)


def _check_offered(rule: str, paths: tuple[str, str], host: SandboxUser, *, is_wide: bool) -> None:
    """Refuse paths that a person must grant by hand.

    Raises:
        PolicyError: it is one.
    """
    path, real = paths
    for each in paths:
        if is_inside(each, host.packages):
            raise PolicyError(
                f"{visible(path)}: no server changes its own package or reads another's."
            )
        if holder := find_holder(each, host.sensitive):
            shown = visible(short_path(holder, host.home))
            raise PolicyError(
                f"{visible(path)}: {shown} may hold keys or logins, or decide what runs"
                f" later.{BY_HAND}"
            )
        if rule == WRITE and (holder := holder_of_later(each, host.home)):
            shown = visible(short_path(holder, host.home))
            raise PolicyError(
                f"{visible(path)}: your programs run what is in {shown}, outside.{BY_HAND}"
            )
    is_system = rule == WRITE and is_in_any(real, SYSTEM)
    is_home = real == host.home and not is_wide
    is_above = real != host.home and is_inside(host.home, real)
    if is_system or real in SHARED or is_home or is_above:
        more = "All of it is given with --wide." if is_home else "Give it a folder in it."
        shown = visible(short_path(real, host.home))
        raise PolicyError(f"{shown} is given to no server as a whole. {more}")
