"""The files that an isolated server sees, as a list of mounts that every engine can make.

The system's programs and libraries, read-only; the parts of `/etc` that programs need and that hold
no secret; a home, a `/tmp` and a `/run` of its own, empty and limited; and the profile's grants.
Later mounts cover earlier ones.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from os.path import isdir, isfile, islink, join, realpath
from typing import NamedTuple

from pipeguard.errors import PolicyError
from pipeguard.isolation.profile import Profile, ResourceLimits
from pipeguard.isolation.run_later import find_run_later
from pipeguard.isolation.sensitive import (
    PATHS,
    find_hidden,
    find_holder,
    folders_above,
    is_in_any,
    is_inside,
    outermost,
)

Variables = Mapping[str, str]  # of an environment
Say = Callable[[str], None]  # tells the user


class MountKind(Enum):
    """The kind of thing at a path."""

    READ = "read"  # a file or folder of this machine
    WRITE = "write"  # the same, that may be changed
    EMPTY = "empty"  # a folder that may be written, in memory
    HIDDEN = "hidden"  # empty, and nothing can be put there
    TEXT = "text"  # a file of ours
    COPY = "copy"  # of a file of this machine
    LINK = "link"  # a symbolic link
    FOLDER = "folder"  # a folder that holds only mounts
    BARE = "bare"  # a folder that holds nothing, and may only be read


class Mount(NamedTuple):
    """One path of the server's view.

    Attributes:
        path: as the server sees it.
        source: the path on this machine (READ, WRITE, COPY), the content (TEXT) or the target
            (LINK).
    """

    kind: MountKind
    path: str
    source: str = ""

    @property
    def is_changed(self) -> bool:
        """True if the server may change this machine's file or folder at the path itself."""
        return self.kind is MountKind.WRITE and self.source == self.path


ETC_FILES = PATHS.in_order("ETC_FILES")
ETC_FOLDERS = PATHS.in_order("ETC_FOLDERS")
MAX_FILE_BYTES = 4 * 1024 * 1024  # of a copied file; ld.so.cache, the largest, has a tenth
SYSTEM = PATHS.in_order("SYSTEM")
SCRATCH = ("/tmp", "/var/tmp", "/run")  # noqa: S108  the server's own
NAMESERVER = "127.0.0.53"  # PipeGuard's own, inside the sandbox
_XDG_FOLDERS = {"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"}
_NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"
_RESOLV = f"nameserver {NAMESERVER}\noptions timeout:2 attempts:1\n"


class FileView(NamedTuple):
    """The files that a server sees.

    Attributes:
        mounts: in the order in which they are made.
        folder: the working directory.
        scratch: the size limit in bytes of each folder in memory.
        absent: sensitive paths in granted folders that do not exist or lead through a link: they
            still do not exist once the folder is mounted.
    """

    mounts: tuple[Mount, ...]
    folder: str
    home: str
    scratch: int
    absent: tuple[str, ...] = ()


class SandboxUser(NamedTuple):
    """The relevant facts about this machine and its user.

    Attributes:
        home: the user's home.
        user: the user's name.
        sensitive: paths that must be granted by name (isolation.sensitive).
        packages: the folder of fetched packages, which may be read nevertheless.
    """

    home: str
    user: str
    uid: int
    gid: int
    sensitive: tuple[str, ...]
    packages: str


class SandboxedCommand(NamedTuple):
    """A command and everything an engine needs to run it.

    Attributes:
        argv: the server's program and its arguments.
        variables: its environment.
        ports: TCP ports that it may connect to.
    """

    argv: tuple[str, ...]
    variables: Variables
    view: FileView
    host: SandboxUser
    limits: ResourceLimits
    ports: tuple[int, ...]


def build_view(
    profile: Profile, host: SandboxUser, needed: Sequence[str], folder: str, kept_home: str | None
) -> FileView:
    """The view that a profile gives.

    Args:
        profile: the grants.
        host: this machine and its user.
        needed: files and folders that the server's program needs to run, read-only.
        folder: the server's working directory.
        kept_home: the folder of its home, if that is kept between runs.

    Raises:
        PolicyError: something that the program needs is sensitive, or everything is granted.
    """
    if "/" in (*profile.read, *profile.write):
        raise PolicyError("/ cannot be given to an isolated server. Name folders in it.")
    for path in needed:
        holder = find_holder(path, host.sensitive)
        is_ours = is_inside(path, host.packages) and path != host.packages
        if holder and not is_ours and not is_in_any(path, (*profile.read, *profile.write)):
            raise PolicyError(
                f"{path}: the server's program is in {holder}, which must be granted by name. If"
                f" it may read it: --read {path}"
            )
    mounts = [*_system(), *_etc(host), *_own(host.home, kept_home)]
    if islink("/var/run"):
        mounts.append(Mount(MountKind.LINK, "/var/run", "/run"))
    git = profile.serves_git
    later = (
        path
        for folder in profile.write
        for path in find_run_later(folder, host.home, host.sensitive, changes_git=git)
    )
    fixed = (*needed, *later)
    granted = dict.fromkeys((*fixed, *profile.read), MountKind.READ)
    granted |= dict.fromkeys(profile.write, MountKind.WRITE)
    named = (*profile.read, *profile.write, *needed)
    grants = list(_grants(granted, fixed, host))
    covered = {path for each in granted for path in find_hidden(each, host.sensitive, named)}
    hidden = [Mount(MountKind.HIDDEN, path) for path in outermost(covered)]
    _check_links(grants, profile, host)
    inside = [*grants, *hidden]
    pins = _pin_folders([*mounts, *inside])
    mounts += sorted((*inside, *pins), key=lambda mount: _depth(mount.path))
    if not is_in_any(folder, (*granted, *SYSTEM)):
        mounts.append(Mount(_kind_of_start(folder, mounts), folder))
    absent = tuple(_absent(granted, host, named, hidden))
    return FileView(tuple(mounts), folder, host.home, profile.limits.scratch, absent)


def innermost(path: str, mounts: Iterable[Mount]) -> Mount | None:
    """The innermost mount that contains a path."""
    holders = [mount for mount in mounts if is_inside(path, mount.path)]
    return max(holders, key=lambda mount: len(mount.path), default=None)


def filter_environment(variables: Variables, view: FileView) -> dict[str, str]:
    """The environment of an isolated server, without variables that lead to paths it cannot see."""
    dropped = {
        "DBUS_SESSION_BUS_ADDRESS",
        "XDG_RUNTIME_DIR",
        "SSH_AUTH_SOCK",
        "GPG_AGENT_INFO",
        "DISPLAY",
        "WAYLAND_DISPLAY",
        "XAUTHORITY",
        "DOCKER_HOST",
        "TMPDIR",
        "TEMP",
        "TMP",
    }
    seen = {MountKind.READ, MountKind.WRITE, MountKind.EMPTY}
    holders = tuple(mount.path for mount in view.mounts if mount.kind in seen)
    for name in _XDG_FOLDERS & variables.keys():
        if not is_in_any(variables[name], holders):
            dropped.add(name)  # then it is in its home
    kept = {name: value for name, value in variables.items() if name not in dropped}
    return kept | {"HOME": view.home}


def _system() -> Iterator[Mount]:
    for path in SYSTEM:
        if islink(path):
            yield Mount(MountKind.LINK, path, os.readlink(path))
        elif isdir(path):
            yield Mount(MountKind.READ, path, path)


def _etc(host: SandboxUser) -> Iterator[Mount]:
    for name in ETC_FOLDERS:
        path = join("/etc", name)
        if isdir(path):
            yield Mount(MountKind.READ, path, realpath(path))
    for name in ETC_FILES:
        path = join("/etc", name)
        if isfile(path):
            yield Mount(MountKind.COPY, path, realpath(path))
    name = host.user
    yield Mount(
        MountKind.TEXT,
        "/etc/passwd",
        f"{name}:x:{host.uid}:{host.gid}:{name}:{host.home}:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    )
    yield Mount(MountKind.TEXT, "/etc/group", f"{name}:x:{host.gid}:\nnogroup:x:65534:\n")
    yield Mount(MountKind.TEXT, "/etc/nsswitch.conf", _NSSWITCH)
    yield Mount(MountKind.TEXT, "/etc/resolv.conf", _RESOLV)
    yield Mount(MountKind.TEXT, "/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")


def _kind_of_start(folder: str, mounts: Sequence[Mount]) -> MountKind:
    """The kind of mount for a working directory that was not granted.

    In a folder of its own, the server's files would be kept in memory and lost silently.
    """
    holder = innermost(folder, mounts)
    is_lost = holder and holder.kind is MountKind.EMPTY and holder.path != folder
    has_mounts = any(is_inside(mount.path, folder) for mount in mounts)
    return MountKind.BARE if is_lost and not has_mounts else MountKind.FOLDER


def _own(home_folder: str, kept_home: str | None) -> Iterator[Mount]:
    """The server's own folders, which it may write without a grant."""
    own = {path: Mount(MountKind.EMPTY, path) for path in (*SCRATCH, home_folder)}
    if kept_home:
        own[home_folder] = Mount(MountKind.WRITE, home_folder, kept_home)
    own.pop("/", None)  # of a user without a home: it would cover the system
    yield from sorted(own.values(), key=lambda mount: _depth(mount.path))


def _grants(
    granted: Mapping[str, MountKind], fixed: Sequence[str], host: SandboxUser
) -> Iterator[Mount]:
    """Mounts for the grants. Fixed paths in a writable folder are read-only."""
    for path in sorted(granted, key=_depth):
        if is_in_any(path, SYSTEM):
            continue
        real = realpath(path)
        is_link = islink(path)
        around = [granted[each] for each in folders_above(path) if each in granted]
        is_fixed = path in fixed and MountKind.WRITE in around
        # A changeable path in another one is a mount of its own, which no link can replace.
        is_alike = granted[path] is not MountKind.WRITE and not is_fixed
        if around and (is_link or is_alike):
            continue
        if folder := _link_above(path, real, granted, host):
            yield Mount(MountKind.LINK, folder, realpath(folder))
            continue
        # The target of a link is needed too, by its own path.
        yield Mount(MountKind.LINK, path, real) if is_link else Mount(granted[path], path, real)


def _link_above(path: str, real: str, granted: Mapping[str, MountKind], host: SandboxUser) -> str:
    """The link above a needed file that leads to it; empty if the file must be mounted itself.

    A program finds its packages next to its real path, which it can only find by the link.
    """
    if path == real or islink(path) or not is_in_any(real, granted):
        return ""
    folder = next((each for each in reversed([*folders_above(path)]) if islink(each)), "")
    others = (host.home, *(each for each in granted if each != path))
    return "" if any(is_inside(each, folder) for each in others) else folder


def _check_links(grants: Iterable[Mount], profile: Profile, host: SandboxUser) -> None:
    """Check that grants contain no links, and that no link leads to a path that must be named.

    Raises:
        PolicyError: a link was made after the path was checked.
    """
    given = (*profile.read, *profile.write)
    for mount in grants:
        leads_away = mount.source != mount.path and mount.kind is not MountKind.LINK
        if mount.path in given and mount.source != mount.path:
            raise PolicyError(f"{mount.path} is a link to {mount.source} now. Name that instead.")
        is_ours = is_inside(mount.source, host.packages)
        if leads_away and find_holder(mount.source, host.sensitive) and not is_ours:
            raise PolicyError(
                f"{mount.path} leads to {mount.source}, which must be granted by name."
            )


def _absent(
    granted: Iterable[str], host: SandboxUser, named: Sequence[str], hidden: Sequence[Mount]
) -> Iterator[str]:
    for path in host.sensitive:
        is_named = any(is_inside(each, path) for each in named)
        is_covered = is_in_any(path, (mount.path for mount in hidden))
        if not is_named and not is_covered and is_in_any(path, granted):
            yield path


def _pin_folders(mounts: Sequence[Mount]) -> Iterator[Mount]:
    """Mounts of the folders between a writable folder and the mounts in it.

    A mount moves with its folder: a server that renames the folder would find the covered files at
    its next start, or could have put others there. A mount point cannot be renamed.
    """
    at = {mount.path: mount for mount in mounts if mount.kind is not MountKind.LINK}
    held = dict.fromkeys(
        folder for path in at for folder in folders_above(path) if folder not in at
    )
    for folder in held:
        around = next((at[each] for each in folders_above(folder) if each in at), None)
        if around and around.kind is MountKind.WRITE:
            # A kept home's source differs from its path.
            yield Mount(MountKind.WRITE, folder, around.source + folder.removeprefix(around.path))


def _depth(path: str) -> tuple[int, str]:
    """Sort key that puts outer folders first, so that none covers an inner one."""
    return path.count("/"), path
