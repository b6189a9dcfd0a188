"""Reduces observations to the grants that a person is asked for: few, and each with a reason.

Three or more files of a folder become the folder, and three or more subfolders become their parent:
a list of a hundred files tells less than the folder, and would not contain the next file. Never
merged are the home, a folder shared by several users, and one with a path that must be granted by
name (isolation.sensitive). For a file that was deleted again, its folder is granted. Files that a
server writes in a hidden folder of the home are its own state, for which there is the kept home.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from os.path import dirname, exists, isdir, isfile, join, lexists, realpath, relpath
from typing import NamedTuple

from pipeguard.isolation.egress.addresses import is_metadata
from pipeguard.isolation.egress.hosts import PRIVATE, HostRules, parse_authority
from pipeguard.isolation.learning.observed import LISTED, WRITTEN, Observed
from pipeguard.isolation.profile import Profile, parse_path, short_path
from pipeguard.isolation.sensitive import PATHS, find_holder, is_in_any, is_inside
from pipeguard.isolation.view import SandboxUser

ENOUGH = 3  # entries of a folder that make the folder
MOST = 200  # of each kind: a person would not read more
SHARED = PATHS.SHARED
KINDS = ("read", "write", "hosts", "loopback")  # lists in the policy
_DEPTHS = {".config": 2, ".cache": 2, ".local": 3}  # of a program's own folder in a hidden one


class Grant(NamedTuple):
    """One proposed grant.

    Attributes:
        kind: the key of the policy: `read`, `write`, `hosts`, `loopback` or `keep_home`.
        value: as the policy writes it.
        why: the observation.
    """

    kind: str
    value: str
    why: str


class Withheld(NamedTuple):
    """One thing that the server used and that is not proposed.

    Attributes:
        what: a path or host, and its use.
        why: the reason why it is not proposed.
        subject: the path or host by itself.
    """

    what: str
    why: str
    subject: str


class ProfileProposal(NamedTuple):
    """The change that is proposed for a server.

    Attributes:
        added: used, and not yet granted.
        present: used, and already granted.
        withheld: used, and not proposed.
    """

    added: tuple[Grant, ...]
    present: tuple[Grant, ...]
    withheld: tuple[Withheld, ...]

    def make_entry(self, server: str) -> dict[str, object]:
        """The `isolate` entry of a policy that grants the additions to a server.

        Args:
            server: the glob of its name.
        """
        entry: dict[str, object] = {"server": server}
        for kind in KINDS:
            values = [grant.value for grant in self.added if grant.kind == kind]
            if values:
                entry[kind] = [int(each) for each in values] if kind == "loopback" else values
        if any(grant.kind == "keep_home" for grant in self.added):
            entry["keep_home"] = True
        return entry


def propose(observed: Observed, profile: Profile, host: SandboxUser) -> ProfileProposal:
    """Compare observations with the current grants.

    Args:
        observed: the observations.
        profile: the server's current grants.
        host: this machine and its user.
    """
    files = _Files(host)
    for path, use in sorted(observed.files.items()):
        files.take(realpath(path), use)
    grants = [*files.grants()]
    withheld = [*files.withheld]
    for entry in observed.hosts:
        target = parse_authority(entry.removesuffix(PRIVATE), 443)
        if not is_metadata(target.host):
            why = f"it connected to it{', in a private network' * entry.endswith(PRIVATE)}"
            grants.append(Grant("hosts", entry, why))
        elif not HostRules.parse(profile.hosts).allowed_ports(target.host):
            why = f"it gives out this machine's own credentials; to give it: --connect {entry}"
            withheld.append(Withheld(f"connects to {entry}", why, entry))
    grants += (Grant("loopback", str(port), "it connected to it") for port in observed.loopback)
    present = tuple(grant for grant in grants if _is_given(grant, profile, host))
    added = tuple(grant for grant in grants if grant not in present)
    named = (*profile.read, *profile.write)
    apart = tuple(each for each in withheld if not is_in_any(each.subject, named))
    return ProfileProposal(added, present, apart)


class _Files:
    """Sorts files and folders into read, written and withheld ones."""

    def __init__(self, host: SandboxUser) -> None:
        self._host = host
        self._read: dict[str, int] = {}
        self._written: dict[str, int] = {}
        self._own: set[str] = set()
        self._own_written: set[str] = set()
        self.withheld: list[Withheld] = []

    def take(self, path: str, use: str) -> None:
        """Take one path; the order does not matter."""
        is_written = use == WRITTEN
        if not path.isprintable():
            shown = path.encode("unicode_escape").decode()
            self._withhold("uses", shown, "a policy has no such characters")
        elif find_holder(path, self._host.sensitive):
            verb = "writes" if is_written else "reads"
            self._withhold(verb, path, "not given unless you name it")
        elif is_written:
            self._take_written(path)
        elif exists(path) and (use != LISTED or self._may_be_given(path)):
            self._read[path] = 1

    def grants(self) -> Iterator[Grant]:
        """The grants of files, folders that are written first."""
        home = self._host.home
        if self._own:
            names = ", ".join(short_path(path, home) for path in sorted(self._own)[:ENOUGH])
            yield Grant("keep_home", "true", f"it keeps files of its own in {names}")
        written = _outermost(self._fold_paths(self._written))
        read = {
            path: 1
            for path in self._read
            if not is_in_any(path, written)
            and path not in self._own_written  # the kept home has it, and it stays writable there
            and not (is_in_any(path, self._own) and isdir(path))
        }
        read = _outermost(self._fold_paths(read))
        for kind, verb, paths in (("write", "written", written), ("read", "read", read)):
            for path, count in sorted(paths.items())[:MOST]:
                whole = "everything in it; " if isdir(path) else ""
                why = f"{whole}{count} {'path' if count == 1 else 'paths'} {verb}"
                yield Grant(kind, short_path(path, home), why)

    def _withhold(self, verb: str, path: str, why: str) -> None:
        what = f"{verb} {short_path(path, self._host.home)}"
        self.withheld.append(Withheld(what, why, path))

    def _take_written(self, path: str) -> None:
        own = self._folder_of_its_own(path)
        if own:
            self._own.add(own)
            self._own_written.add(path)
            return
        there = path
        while not exists(there):
            there = dirname(there)
        if isfile(there) or self._may_be_given(there):
            self._written[there] = self._written.get(there, 0) + 1
        else:
            shown = short_path(there, self._host.home)
            why = f"{shown} is given to no server as a whole: give it a folder in it"
            self._withhold("writes", path, why)

    def _folder_of_its_own(self, path: str) -> str | None:
        """The hidden folder of the home that contains a path: `~/.name`, or `~/.config/name`."""
        home = self._host.home
        first, *_ = parts = relpath(path, home).split("/")
        if first in (".", "..") or not first.startswith("."):
            return None
        return join(home, *parts[: _DEPTHS.get(first, 1)])

    def _fold_paths(self, paths: Mapping[str, int]) -> dict[str, int]:
        """Replace the paths in a folder by the folder if there are enough of them."""
        entries = dict(paths)
        while True:
            children: dict[str, list[str]] = defaultdict(list)
            for path in entries:
                children[dirname(path)].append(path)
            for folder, inside in sorted(children.items(), reverse=True):
                if len(inside) >= ENOUGH and folder not in entries and self._may_be_given(folder):
                    entries[folder] = sum(entries.pop(path) for path in inside)
                    break
            else:
                return entries

    def _may_be_given(self, folder: str) -> bool:
        if folder in SHARED or is_inside(self._host.home, folder) or not isdir(folder):
            return False
        held = (*self._own_written, *filter(lexists, self._host.sensitive))
        return not any(is_inside(each, folder) for each in held)


def _outermost(paths: Mapping[str, int]) -> dict[str, int]:
    """The outermost paths, each with the number of paths in it."""
    found: dict[str, int] = {}
    for path in sorted(paths):  # a folder comes before its contents
        holder = find_holder(path, found) or path
        found[holder] = found.get(holder, 0) + paths[path]
    return found


def _is_given(grant: Grant, profile: Profile, host: SandboxUser) -> bool:
    if grant.kind == "keep_home":
        return profile.keeps_home
    if grant.kind == "loopback":
        return int(grant.value) in profile.loopback
    if grant.kind == "hosts":
        rules = HostRules.parse(profile.hosts)
        name = grant.value.removesuffix(PRIVATE)
        target = parse_authority(name, 443)
        is_allowed = target.port in rules.allowed_ports(target.host)
        is_reached = name == grant.value or rules.may_be_private(target.host, target.port)
        return is_allowed and is_reached
    path = parse_path(grant.value, "/", host.home)
    return is_in_any(
        path, profile.write if grant.kind == "write" else (*profile.write, *profile.read)
    )
