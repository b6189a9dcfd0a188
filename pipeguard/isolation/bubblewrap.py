"""The engine bubblewrap: the arguments of bwrap(1) that make a view, and the steps before it.

The process that becomes the server first enters a network namespace of its own and sets its limits
(isolation.namespace); bwrap then makes the other namespaces, the mounts and the filter of system
calls, and executes the server without capabilities, through the program that applies Landlock.
"""

import os
import resource
import socket
import stat
from collections.abc import Iterator
from os.path import dirname, exists, isdir, join, realpath

from pipeguard.isolation import (
    cgroups,
    ended_by_limit,
    landlock,
    namespace,
    profile,
    seccomp,
    staging,
)
from pipeguard.isolation.covers import Doorway, find_covers
from pipeguard.isolation.sensitive import read_start
from pipeguard.isolation.view import (
    MAX_FILE_BYTES,
    FileView,
    Mount,
    MountKind,
    SandboxedCommand,
    Say,
)
from pipeguard.launch.child import Child, Command, start
from pipeguard.launch.command import Confinement

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


def find() -> str | None:
    """The path of bwrap; None if it is not installed.

    Only system folders and root-owned folders of our PATH count: a bwrap supplied by a client's
    entry or a project could undo the isolation.
    """
    if path := find_in_system(PROGRAM):
        return path
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        path = realpath(join(folder, PROGRAM))
        if folder.startswith("/") and os.access(path, os.X_OK) and _is_of_root(path):
            return path
    return None


def find_in_system(program: str) -> str | None:
    """The path of a program in the system's folders; None if there is none."""
    paths = (join(folder, program) for folder in FOLDERS)
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def describe_search() -> str:
    """Describe the folders in which `find` looked, and the reason."""
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
        path = dirname(path)


def start_confined(
    server: SandboxedCommand, say: Say
) -> tuple[Child, socket.socket, ended_by_limit.Ended]:
    """Start a server isolated; return before it runs.

    Args:
        server: the command and its view.
        say: tells the user which files cannot be kept covered.

    Returns:
        The server; the channel that delivers its sockets; a function to call when it has ended.

    Raises:
        LaunchError: no filter of system calls is known for this machine, or the system has no
            descriptors or processes left.
    """
    group = cgroups.ControlGroup(())
    if server.host.uid == 0:  # there resource limits do not bound processes
        cgroups.remove_stale()
        group = cgroups.make_group(server.limits) or group
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    covers = tuple(find_covers(server.view))
    doorway = Doorway(covers, say) if covers else None
    confinement = _confine(server, theirs.fileno(), group, doorway)
    try:
        child = start(Command(server.argv, {}, None, confinement))
    except BaseException:
        ours.close()
        group.remove()
        raise
    finally:
        theirs.detach()
        for descriptor in confinement.descriptors:
            os.close(descriptor)

    def end() -> tuple[tuple[str, ...], int]:
        group.close()
        return group.exceeded_limits(), 0 if doorway is None else doorway.lifeline.reason

    return child, ours, end


def _confine(
    server: SandboxedCommand, channel: int, group: cgroups.ControlGroup, doorway: Doorway | None
) -> Confinement:
    """The start of a server's engine.

    Args:
        server: the command. Its environment is set inside: bwrap itself runs outside, and
            `LD_PRELOAD` would make it load files that the server may write.
        channel: a descriptor of the Unix socket that its sockets are sent through.
        group: the control group that bounds it; without folders if none can be made.
        doorway: the covering process's descriptors, or None.
    """
    host = server.host
    view = server.view
    inherited = [_seal_content(seccomp.filter_program(os.uname().machine))]
    arguments = [
        *_NAMESPACES,
        *("--unshare-cgroup-try", "--die-with-parent", "--cap-drop", "ALL"),
        *("--uid", str(host.uid), "--gid", str(host.gid), "--hostname", "localhost"),
        *("--seccomp", str(inherited[0]), "--tmpfs", "/", "--proc", "/proc", "--dev", "/dev"),
        *(_guarded_proc() if host.uid == 0 else ()),
    ]
    mounts, staged = staging.stage_view(view)
    for mount in mounts:
        arguments += _mount_arguments(mount, inherited, view.scratch)
    # bwrap's /dev is in memory without a limit.
    arguments += ["--perms", "1777", "--size", str(view.scratch), "--tmpfs", "/dev/shm"]  # noqa: S108  its own
    # Writes outside grants and scratch fail instead of being lost: other folders are in the root.
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", view.folder]
    arguments += [w for name, value in server.variables.items() for w in ("--setenv", name, value)]
    read_from = _seal_content(os.fsencode("".join(f"{argument}\0" for argument in arguments)))

    argv = [find() or PROGRAM, "--args", str(read_from)]
    if doorway:
        inherited += (*doorway.watched, doorway.info, doorway.said)
        inherited += doorway.lifeline.ends
        argv += ["--info-fd", str(doorway.said)]
    argv += ["--", *_through_landlock(view, inherited), *server.argv]

    def prepare() -> None:
        entrances = group.entrances()
        namespace.enter(host.uid, host.gid)
        staging.stage(staged)
        namespace.pass_sockets(server.ports, channel)
        os.close(channel)  # its holder could send other sockets
        if doorway:
            doorway.open()  # late: each page that is written after a fork is copied
        # After that: what covers must not be ended by what the server uses up.
        cgroups.enter(entrances)
        for _, number, soft, hard in process_limits(server.limits):
            resource.setrlimit(number, (soft, hard))

    lifeline = doorway.lifeline if doorway else None
    fds = (read_from, *inherited, channel)
    return Confinement(argv, fds, prepare, leave=group.leave, why_not=forbidden, lifeline=lifeline)


def _through_landlock(view: FileView, inherited: list[int]) -> list[str]:
    """The prefix of a command that applies Landlock's rules, if Landlock works."""
    if landlock.obstacle():
        return []
    rules = _seal_content(landlock.write_rules(view, landlock.version()))
    program = os.open(landlock.PROGRAM, os.O_PATH)  # to be executed by its descriptor
    inherited += [rules, program]
    return [f"/proc/self/fd/{program}", f"{rules:x}", f"{program:x}"]


def _guarded_proc() -> Iterator[str]:
    """Cover the machine-wide parts of /proc, which root in the sandbox could otherwise use.

    The paths are the OCI runtime specification's defaults (masked and read-only paths). bwrap
    covers some of them itself, but leaves read-only folders whose files are writable.
    """
    for name in ("bus", "fs", "irq", "sys", "sysrq-trigger"):
        yield from ("--ro-bind-try", f"/proc/{name}", f"/proc/{name}")
    for name in ("acpi", "asound", "kcore", "keys", "latency_stats", "timer_list", "timer_stats"):
        yield from _cover_arguments(f"/proc/{name}")
    for name in ("sched_debug", "scsi", "kallsyms", "kpagecgroup", "kpagecount", "kpageflags"):
        yield from _cover_arguments(f"/proc/{name}")


def _cover_arguments(path: str) -> list[str]:
    """Arguments that cover a path, if it exists."""
    if isdir(path):
        return _fixed_folder(path, "0000")
    return ["--ro-bind", os.devnull, path] if exists(path) else []


def _fixed_folder(path: str, mode: str) -> list[str]:
    """An empty read-only folder."""
    return ["--perms", mode, "--tmpfs", path, "--remount-ro", path]


def _mount_arguments(mount: Mount, inherited: list[int], scratch: int) -> list[str]:
    path = mount.path
    source = mount.source
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
    content = os.fsencode(source)
    if mount.kind is MountKind.COPY:  # of what is not ours to read, the server gets nothing either
        content = read_start(source, MAX_FILE_BYTES) or b""
    inherited.append(_seal_content(content))
    return ["--perms", "0444", "--file", str(inherited[-1]), path]


def process_limits(limits: profile.ResourceLimits) -> Iterator[tuple[str, int, int, int]]:
    """The limits of one process, none above our own: name, number, soft, hard (setrlimit(2))."""
    for name, number, value in (
        ("data", resource.RLIMIT_DATA, limits.memory),
        ("nproc", resource.RLIMIT_NPROC, limits.processes),
        ("nofile", resource.RLIMIT_NOFILE, limits.files),
        ("fsize", resource.RLIMIT_FSIZE, limits.file_size),
        # A process that used up its seconds gets a signal of its own, and is killed a second later.
        ("cpu", resource.RLIMIT_CPU, None if limits.cpu is None else limits.cpu + 1),
        ("core", resource.RLIMIT_CORE, 0),
    ):
        if value is not None:
            _, most = resource.getrlimit(number)
            hard = value if most == resource.RLIM_INFINITY else min(value, most)
            yield name, number, max(1, hard - 1) if name == "cpu" else hard, hard


def _seal_content(content: bytes) -> int:
    """A descriptor for reading this content."""
    descriptor = os.memfd_create("pipeguard", 0)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def forbidden() -> str | None:
    """Name the obstacle to user namespaces; None if PipeGuard knows of none."""
    if setting := forbidding_setting():
        return setting
    if any(map(exists, ("/.dockerenv", "/run/.containerenv"))):
        return "this is a container, whose settings forbid namespaces inside it"
    return None


def forbidding_setting() -> str | None:
    """The setting that forbids user namespaces; None if PipeGuard knows of none."""
    settings = _SYSCTLS if os.geteuid() == 0 else _SYSCTLS | _SYSCTLS_OF_USERS
    for path, value in settings.items():
        if cgroups.read_setting(path) == value:
            name = path.removeprefix("/proc/sys/").replace("/", ".")
            return f"{name} = {value} forbids user namespaces"
    return None
