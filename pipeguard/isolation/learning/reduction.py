"""Makes of what was seen what a person is asked to grant: little, and with a reason for each.

Three or more files of a folder become the folder, and three or more folders of a folder that one:
a list of a hundred files says less than the folder, and the next file in it would be missing. Never
become one: the home, a folder that several share, and one that holds what has to be named by itself
(isolation.sensitive). A file that is written is given by itself; its folder is, if more is written
there, or if the file was removed again. What a server writes in a hidden folder of the home is its
own state, which a kept home has room for.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.isolation.egress.addresses import is_metadata
from pipeguard.isolation.egress.hosts import PRIVATE, HostRules, parse_authority, parse_host
from pipeguard.isolation.learning.observed import LISTED, WRITTEN
from pipeguard.isolation.profile import parse_path
from pipeguard.isolation.sensitive import find_holder, is_inside

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from pipeguard.isolation.learning.observed import Observed
    from pipeguard.isolation.profile import Profile
    from pipeguard.isolation.view import SandboxUser

# the functions that the other modules of this package use


ENOUGH = 3  # entries of a folder that make the folder
MOST = 200  # of each kind: more is not what a person reads
WEB_PORTS = frozenset({80, 443})
DNS_PORT = 53
SHARED = frozenset(
    {
        *("/", "/bin", "/boot", "/etc", "/home", "/lib", "/media", "/mnt", "/opt", "/private"),
        *("/root", "/srv", "/tmp", "/usr", "/usr/local", "/var", "/var/lib", "/var/tmp"),  # noqa: S108  never given
    }
)
PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")  # ip(7)
RESOLVER_FILE = Path("/etc/resolv.conf")
# Where C libraries and loggers connect by themselves, and go on where nobody is.
UNNEEDED_SOCKETS = ("/run/nscd", "/var/run/nscd", "/run/systemd", "/dev/log", "/var/run/systemd")


class Grant(NamedTuple):
    """One thing that a server would be given.

    Attributes:
        kind: the key of the policy: `read`, `write`, `hosts`, `loopback` or `keep_home`.
        value: as the policy writes it.
        why: what was seen.
    """

    kind: str
    value: str
    why: str


class Withheld(NamedTuple):
    """One thing that it used and would not be given.

    Attributes:
        what: a path, port, name or socket, and what was done with it.
        why: it is not given.
        subject: the path or name by itself, where the policy could name it.
    """

    what: str
    why: str
    subject: str = ""


class Reduction(NamedTuple):
    """The grants and refusals that would follow."""

    grants: tuple[Grant, ...]
    withheld: tuple[Withheld, ...]


def reduce(observed: Observed, host: SandboxUser) -> Reduction:
    """A grant to a server.

    Args:
        observed: what was seen of it.
        host: this machine and its user.
    """
    files = _Files(host)
    for path, use in sorted(observed.files.items()):
        files.take(os.path.realpath(path), use)
    of_credentials = [host for host in observed.hosts if is_metadata(parse_host(host))]
    grants = [*files.grants(), *_hosts(observed, of_credentials)]
    withheld = [*files.withheld]
    for name in sorted(of_credentials):
        why = f"it gives out this machine's own credentials; to give it: --connect {name}"
        withheld.append(Withheld(f"connects to {name}", why, name))
    for port in sorted(observed.loopback - observed.bound - {DNS_PORT}):
        if port in _passing_ports():
            why = "the system chose this port, and will choose another one next time"
            withheld.append(Withheld(f"connects to port {port} of this machine", why))
        else:
            grants.append(Grant("loopback", str(port), "it connected to it"))
    for name in sorted(observed.names - observed.hosts.keys()):
        if not name.endswith(_search_domains()):
            why = f"it did not connect then; if it needs the host: --connect {name}"
            withheld.append(Withheld(f"asks for the name {name}", why, name))
    for path in sorted(observed.sockets):
        if not path.startswith(UNNEEDED_SOCKETS) and os.path.exists(path):
            why = "whoever can connect to it can do what its owner can"
            withheld.append(Withheld(f"connects to the socket {path}", why, path))
    return Reduction(tuple(grants), tuple(withheld))


class _Files:
    """Sorts files and folders into what is read, what is written, and what is not given."""

    def __init__(self, host: SandboxUser) -> None:
        self._host = host
        self._read: dict[str, int] = {}
        self._written: dict[str, list[str]] = defaultdict(list)  # by folder
        self._own: set[str] = set()
        self._own_written: set[str] = set()
        self.withheld: list[Withheld] = []

    def take(self, path: str, use: str) -> None:
        """Take one path; the order does not matter."""
        if not path.isprintable():
            what = f"uses {path.encode('unicode_escape').decode()}"
            self.withheld.append(Withheld(what, "a policy has no such characters"))
            return
        holder = find_holder(path, self._host.sensitive)
        if holder is not None:
            what = "writes" if use == WRITTEN else "reads"
            why = "not given unless you name it"
            if is_inside(path, self._host.packages):
                why = "no server changes its own package; look for a setting that puts it elsewhere"
            self.withheld.append(Withheld(f"{what} {show_path(path, self._host.home)}", why, path))
        elif use == WRITTEN:
            self._take_written(path)
        elif not os.path.exists(path):
            return
        elif use == LISTED and not self._may_be_given(path):
            if path == self._host.home or path == "/":
                what = f"lists {show_path(path, self._host.home)}"
                self.withheld.append(Withheld(what, "no server is given all of it", path))
        else:
            self._read[path] = 1

    def grants(self) -> Iterable[Grant]:
        """The grants of files, folders that are written first."""
        home = self._host.home
        if self._own:
            names = ", ".join(show_path(path, home) for path in sorted(self._own)[:ENOUGH])
            yield Grant("keep_home", "true", f"it keeps files of its own in {names}")
        written = _outermost(
            {
                paths[0] if len(paths) == 1 and os.path.isfile(paths[0]) else folder: len(paths)
                for folder, paths in self._written.items()
            }
        )
        for path, count in sorted(written.items())[:MOST]:
            yield Grant("write", show_path(path, home), _count_paths(path, count, "written"))
        rest = {path: 1 for path in self._read if not _inside(path, written)}
        for path in self._own_written:  # the kept home has it, and it stays writable there
            rest.pop(path, None)
        rest = {
            path: count
            for path, count in rest.items()
            if not (_inside(path, self._own) and os.path.isdir(path))
        }
        for path, count in sorted(_outermost(self._fold_paths(rest)).items())[:MOST]:
            if not _inside(path, written):
                yield Grant("read", show_path(path, home), _count_paths(path, count, "read"))

    def _take_written(self, path: str) -> None:
        own = self._folder_of_its_own(path)
        if own is not None:
            self._own.add(own)
            self._own_written.add(path)
            return
        folder = path
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        if self._may_be_given(folder):
            self._written[folder].append(path)
        elif os.path.isfile(path):
            self._written[path].append(path)
        elif not os.path.isdir(path):
            home = self._host.home
            what = f"writes {show_path(path, home)}"
            shown = show_path(folder, home)
            why = f"{shown} is given to no server as a whole: give it a folder in it"
            self.withheld.append(Withheld(what, why, path))

    def _folder_of_its_own(self, path: str) -> str | None:
        """The hidden folder of the home that a path is in: `~/.name`, or `~/.config/name`."""
        home = self._host.home
        if not is_inside(path, home) or path == home:
            return None
        parts = path[len(home.rstrip("/")) + 1 :].split("/")
        if not parts[0].startswith("."):
            return None
        depth = {".config": 2, ".cache": 2, ".local": 3}.get(parts[0], 1)
        return os.path.join(home, *parts[:depth])

    def _fold_paths(self, paths: Mapping[str, int]) -> dict[str, int]:
        """The paths, with a folder for those of which there are enough."""
        entries = dict(paths)
        while True:
            children: dict[str, list[str]] = defaultdict(list)
            for path in entries:
                children[os.path.dirname(path)].append(path)
            for folder, inside in sorted(children.items(), reverse=True):
                if len(inside) >= ENOUGH and folder not in entries and self._may_be_given(folder):
                    entries[folder] = sum(entries.pop(path) for path in inside)
                    break
            else:
                return entries

    def _may_be_given(self, folder: str) -> bool:
        if folder in SHARED or is_inside(self._host.home, folder) or not os.path.isdir(folder):
            return False
        if any(is_inside(path, folder) for path in self._own_written):
            return False
        return not any(
            is_inside(folder, each) or (is_inside(each, folder) and os.path.lexists(each))
            for each in self._host.sensitive
        )


def show_path(path: str, home_folder: str) -> str:
    """A path as a person writes it."""
    return "~" + path[len(home_folder) :] if is_inside(path, home_folder) else path


def _inside(path: str, folders: Iterable[str]) -> bool:
    return any(is_inside(path, folder) for folder in folders)


def _outermost(paths: Mapping[str, int]) -> dict[str, int]:
    """Those that are in none of the others, with what the others count."""
    found: dict[str, int] = {}
    for path in sorted(paths):  # a folder stands before what is in it
        holder = next((each for each in found if is_inside(path, each)), path)
        found[holder] = found.get(holder, 0) + paths[path]
    return found


def _count_paths(path: str, count: int, what: str) -> str:
    whole = "everything in it; " if os.path.isdir(path) else ""
    return f"{whole}{count} {'path' if count == 1 else 'paths'} {what}"


def _hosts(observed: Observed, apart: Collection[str]) -> Iterable[Grant]:
    """The grants of hosts, without those that are told apart."""
    for host, ports in sorted(observed.hosts.items()):
        if host in apart:
            continue
        name = f"[{host}]" if ":" in host else host
        is_address = name != host or host.replace(".", "").isdigit()
        why = "it connected to it"
        if is_address:
            why += "; no name was seen for it"
        private = PRIVATE if host in observed.private else ""
        if private:
            why += ", in a private network"
        if ports & WEB_PORTS:
            yield Grant("hosts", f"{name}{private}", why)
        for port in sorted(ports - WEB_PORTS):
            yield Grant("hosts", f"{name}:{port}{private}", why)


def _search_domains() -> tuple[str, ...]:
    """The domains that the C library appends to names by itself (resolv.conf(5))."""
    try:
        lines = RESOLVER_FILE.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ()
    words = (line.split() for line in lines if line.startswith(("search", "domain")))
    return tuple(f".{each.rstrip('.')}" for _, *domains in words for each in domains)


def _passing_ports() -> range:
    """The ports that the system chooses from for who names none."""
    try:
        low, high = map(int, PORT_RANGE.read_text("ascii").split())
    except (OSError, ValueError):
        return range(32_768, 61_000)
    return range(low, high + 1)


# --- proposal ---------------------------------------------------------------------------
# The difference between what was learned of a server and its grants, which a person accepts.

KINDS = ("read", "write", "hosts", "loopback")  # of which the policy has lists


class ProfileProposal(NamedTuple):
    """The change that is proposed for a server.

    Attributes:
        added: what it used and is not given.
        present: what it used and is given.
        unused: what it is given and did not use, in any run that learned.
        withheld: what it used and would not be given.
    """

    added: tuple[Grant, ...]
    present: tuple[Grant, ...]
    unused: tuple[Grant, ...]
    withheld: tuple[Withheld, ...]


def propose(observed: Observed, profile: Profile, host: SandboxUser) -> ProfileProposal:
    """Compare what was seen with what is given.

    Args:
        observed: what was seen.
        profile: what the server is given now.
        host: this machine and its user.
    """
    reduction = reduce(observed, host)
    is_given = [_is_given(grant, profile, host) for grant in reduction.grants]
    pairs = list(zip(reduction.grants, is_given, strict=True))
    return ProfileProposal(
        tuple(grant for grant, given in pairs if not given),
        tuple(grant for grant, given in pairs if given),
        tuple(_unused_grants(observed, profile)),
        tuple(each for each in reduction.withheld if not _is_named(each, profile)),
    )


def policy_entry(server: str, grants: tuple[Grant, ...]) -> dict[str, object]:
    """The entry of `isolate` in a policy that gives a server these.

    Args:
        server: the glob of its name.
        grants: what it is given.
    """
    entry: dict[str, object] = {"server": server}
    for kind in KINDS:
        values = [grant.value for grant in grants if grant.kind == kind]
        if values:
            entry[kind] = [int(each) for each in values] if kind == "loopback" else values
    if any(grant.kind == "keep_home" for grant in grants):
        entry["keep_home"] = True
    return entry


def _is_given(grant: Grant, profile: Profile, host: SandboxUser) -> bool:
    if grant.kind == "keep_home":
        return profile.keeps_home
    if grant.kind == "loopback":
        return int(grant.value) in profile.loopback
    if grant.kind == "hosts":
        rules = HostRules.parse(profile.hosts)
        name = grant.value.removesuffix(PRIVATE)
        target = parse_authority(name, 443)
        if name != grant.value and not rules.may_be_private(target.host, target.port):
            return False
        return target.port in rules.allowed_ports(target.host)
    path = parse_path(grant.value, "/", host.home)
    given = profile.write if grant.kind == "write" else (*profile.write, *profile.read)
    return any(is_inside(path, each) for each in given)


def _is_named(withheld: Withheld, profile: Profile) -> bool:
    """True if the user granted it all the same."""
    subject = withheld.subject
    if not subject.startswith("/"):
        return bool(subject and HostRules.parse(profile.hosts).allowed_ports(parse_host(subject)))
    return any(is_inside(subject, each) for each in (*profile.read, *profile.write))


def _unused_grants(observed: Observed, profile: Profile) -> Iterator[Grant]:
    why = "not used while it was learned"
    for kind, paths in (("read", profile.read), ("write", profile.write)):
        for path in paths:
            if not any(is_inside(each, path) for each in observed.files):
                yield Grant(kind, path, why)
    for entry in profile.hosts:
        rules = HostRules.parse([entry])
        if not any(
            ports & rules.allowed_ports(parse_host(host)) for host, ports in observed.hosts.items()
        ):
            yield Grant("hosts", entry, why)
    for port in profile.loopback:
        if port not in observed.loopback:
            yield Grant("loopback", str(port), why)
