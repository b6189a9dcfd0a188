"""The engine bubblewrap: the arguments of bwrap(1) that make a view, and what goes before it.

The process that becomes the server first enters a network of its own and takes on its limits
(isolation.namespace); bwrap then makes the other namespaces, the mounts and the filter of system
calls, and executes the server without any capability, through what takes on Landlock's rules.
"""

from __future__ import annotations

import os
import resource
import stat
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.isolation import cgroups, landlock
from pipeguard.isolation.namespace import enter, pass_sockets
from pipeguard.isolation.seccomp import filter_program
from pipeguard.isolation.staging import stage, stage_view
from pipeguard.isolation.view import MAX_FILE_BYTES, MountKind
from pipeguard.launch.command import Confinement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeguard.isolation.cgroups import ControlGroup
    from pipeguard.isolation.live_mounts import Doorway
    from pipeguard.isolation.profile import ResourceLimits
    from pipeguard.isolation.view import FileView, Mount, SandboxUser
    from pipeguard.launch.command import Command


PROGRAM = "bwrap"
FOLDERS = ("/usr/bin", "/bin", "/usr/local/bin", "/run/current-system/sw/bin")
_BINDS = {MountKind.READ: "--ro-bind", MountKind.WRITE: "--bind", MountKind.LINK: "--symlink"}
_NAMESPACES = ("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts")
# The system's restrictions on user namespaces, which bubblewrap needs.
_SYSCTLS = {"/proc/sys/user/max_user_namespaces": "0"}
_SYSCTLS_OF_USERS = {  # that do not hold for root
    "/proc/sys/kernel/unprivileged_userns_clone": "0",  # Debian's patch of the kernel
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1",  # Ubuntu since 23.10
}


class Surroundings(NamedTuple):
    """The inputs that start a sandbox.

    Attributes:
        ports: TCP ports that it may connect to.
        channel: a descriptor of the Unix socket that its sockets are sent through.
        group: the control group that bounds it; None where none can be made.
        doorway: to what covers again while it runs, or None.
    """

    ports: tuple[int, ...]
    channel: int
    group: ControlGroup | None
    doorway: Doorway | None = None


def find() -> str | None:
    """The path of bwrap, where it is installed.

    In folders of the system, or on our PATH where only root can change it: what a client's entry or
    a project puts there could undo the isolation.
    """
    for folder in FOLDERS:
        path = os.path.join(folder, PROGRAM)
        if os.access(path, os.X_OK):
            return path
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        path = os.path.realpath(os.path.join(folder, PROGRAM))
        if folder.startswith("/") and os.access(path, os.X_OK) and _is_of_root(path):
            return path
    return None


def describe_search() -> str:
    """Describe where `find` looked, and why not elsewhere."""
    return (
        f"there is no `{PROGRAM}` in {', '.join(FOLDERS)}, and none on the PATH that only root"
        " may change, as the program that isolates must be"
    )


def _is_of_root(path: str) -> bool:
    """True if only root can change a file, or put another one in its place."""
    while True:
        found = os.stat(path)
        others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if found.st_uid != 0 or (others and not found.st_mode & stat.S_ISVTX):
            return False
        if path == "/":
            return True
        path = os.path.dirname(path)


def confine(
    command: Command,
    view: FileView,
    host: SandboxUser,
    limits: ResourceLimits,
    around: Surroundings,
) -> Confinement:
    """Wrap a command so that it runs isolated.

    Args:
        command: of the server. Its environment is set inside: bwrap itself runs outside, where
            `LD_PRELOAD` would have it load what the server may write.
        view: the files that it sees.
        host: this machine and its user.
        limits: what it may use up.
        around: what it is started with.

    Raises:
        LaunchError: no filter of system calls is known for this machine.
    """
    inherited = [_seal_content(filter_program(os.uname().machine))]
    arguments = [
        *_NAMESPACES,
        *("--unshare-cgroup-try", "--die-with-parent", "--cap-drop", "ALL"),
        *("--uid", str(host.uid), "--gid", str(host.gid), "--hostname", "localhost"),
        *("--seccomp", str(inherited[0]), "--tmpfs", "/", "--proc", "/proc", "--dev", "/dev"),
        *(_guarded_proc() if host.uid == 0 else ()),
    ]
    mounts, staged = stage_view(view)
    for mount in mounts:
        arguments += _mount_arguments(mount, inherited, view.scratch)
    # What bwrap makes for /dev is in memory without a limit.
    arguments += ["--perms", "1777", "--size", str(view.scratch), "--tmpfs", "/dev/shm"]  # noqa: S108  its own
    # What is not given and no scratch is refused, not lost: the folders between are in the root.
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", view.folder]
    arguments += [w for name, value in command.env.items() for w in ("--setenv", name, value)]
    read_from = _seal_content(os.fsencode("".join(f"{argument}\0" for argument in arguments)))

    argv = [find() or PROGRAM, "--args", str(read_from)]
    if (doorway := around.doorway) is not None:
        inherited += (*doorway.watched_descriptors, doorway.info, doorway.said)
        inherited += doorway.lifeline.ends
        argv += ["--info-fd", str(doorway.said)]
    argv += ["--", *_through_landlock(view, inherited), *command.argv]

    def prepare() -> None:
        entrances = around.group.entrances() if around.group is not None else ()
        enter(host.uid, host.gid)
        stage(staged)
        pass_sockets(around.ports, around.channel)
        os.close(around.channel)  # whoever has it could send other sockets
        if doorway is not None:
            doorway.open()  # late: each page that is written after a fork is copied
        # After that: what covers must not be ended by what the server uses up.
        cgroups.enter(entrances)
        for number, value in _limits(limits):
            _limit(number, value)

    fds = (read_from, *inherited, around.channel)
    leave = around.group.leave if around.group is not None else None
    lifeline = doorway.lifeline if doorway is not None else None
    return Confinement(argv, fds, prepare, leave=leave, why_not=forbidden, lifeline=lifeline)


def _through_landlock(view: FileView, inherited: list[int]) -> list[str]:
    """The words before a command that have it take on Landlock's rules, where that works."""
    if landlock.obstacle() is not None:
        return []
    rules, program = (
        _seal_content(landlock.write_rules(view, landlock.version())),
        landlock.open_program(),
    )
    inherited += [rules, program]
    return [f"/proc/self/fd/{program}", f"{rules:x}", f"{program:x}"]


def _guarded_proc() -> Iterator[str]:
    """Covers what of /proc is of the whole machine, and would be root's if we are root.

    The paths are those of the OCI runtime specification's default (masked and read-only paths).
    bwrap covers some of them itself, but not where files in a folder may be written that itself
    may not.
    """
    for name in ("bus", "fs", "irq", "sys", "sysrq-trigger"):
        yield from ("--ro-bind-try", f"/proc/{name}", f"/proc/{name}")
    for name in ("acpi", "asound", "kcore", "keys", "latency_stats", "timer_list", "timer_stats"):
        yield from _cover_arguments(f"/proc/{name}")
    for name in ("sched_debug", "scsi", "kallsyms", "kpagecgroup", "kpagecount", "kpageflags"):
        yield from _cover_arguments(f"/proc/{name}")


def _cover_arguments(path: str) -> list[str]:
    """Nothing stands at this path, where something does."""
    if os.path.isdir(path):
        return _fixed_folder(path, "0000")
    return ["--ro-bind", os.devnull, path] if os.path.exists(path) else []


def _fixed_folder(path: str, mode: str) -> list[str]:
    """An empty folder, in which nothing can be put."""
    return ["--perms", mode, "--tmpfs", path, "--remount-ro", path]


def _mount_arguments(mount: Mount, inherited: list[int], scratch: int) -> list[str]:
    path, source = mount.path, mount.source
    if mount.kind in _BINDS:
        return [_BINDS[mount.kind], source, path]
    if mount.kind is MountKind.FOLDER:
        return ["--dir", path]
    if mount.kind is MountKind.BARE:
        return _fixed_folder(path, "0555")
    if mount.kind is MountKind.EMPTY:
        mode = "1777" if path.endswith("tmp") else "0700"
        return ["--perms", mode, "--size", str(scratch), "--tmpfs", path]
    if mount.kind is MountKind.HIDDEN:
        return _cover_arguments(path)
    content = os.fsencode(source) if mount.kind is MountKind.TEXT else _content(source)
    inherited.append(_seal_content(content))
    return ["--perms", "0444", "--file", str(inherited[-1]), path]


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError:
        return b""  # not ours to read, so not the server's either


def _limits(limits: ResourceLimits) -> Iterator[tuple[int, int | None]]:
    yield resource.RLIMIT_DATA, limits.memory
    yield resource.RLIMIT_NPROC, limits.processes
    yield resource.RLIMIT_NOFILE, limits.files
    yield resource.RLIMIT_FSIZE, limits.file_size
    yield resource.RLIMIT_CPU, None if limits.cpu is None else limits.cpu + 1
    yield resource.RLIMIT_CORE, 0


def _limit(number: int, value: int | None) -> None:
    """Lower a limit; one that is lower already stays."""
    if value is None:
        return
    _, most = resource.getrlimit(number)
    if most != resource.RLIM_INFINITY:
        value = min(value, most)
    # A process that used up its seconds is told by a signal of its own, and killed a second later.
    soft = max(1, value - 1) if number == resource.RLIMIT_CPU else value
    resource.setrlimit(number, (soft, value))


def _seal_content(content: bytes) -> int:
    """A descriptor to read this content from."""
    descriptor = os.memfd_create("pipeguard", 0)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def forbidden() -> str | None:
    """Name what forbids user namespaces to us; None where nothing is known to."""
    if (setting := forbidding_setting()) is not None:
        return setting
    if any(map(os.path.exists, ("/.dockerenv", "/run/.containerenv"))):
        return "this is a container, whose settings forbid namespaces inside it"
    return None


def forbidding_setting() -> str | None:
    """The setting that forbids them to us; None where none does that is known."""
    settings = _SYSCTLS if os.geteuid() == 0 else _SYSCTLS | _SYSCTLS_OF_USERS
    for path, value in settings.items():
        if _read_setting(path) == value:
            name = path.removeprefix("/proc/sys/").replace("/", ".")
            return f"{name} = {value} forbids user namespaces"
    return None


def _read_setting(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""
