"""The engine `container`: a server in a container of podman, from an empty image.

It sees the same files as under bubblewrap, as mounts of this machine's; only PipeGuard listens in
its network. Its command line and variables reach it through its input
(`isolation.container_files`), so that neither `ps` nor `inspect` shows them.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from pipeguard.errors import LaunchError
from pipeguard.isolation import ended_by_limit, landlock, profile, seccomp
from pipeguard.isolation.container_attendant import (
    ORPHAN_SECONDS,
    ContainerRecord,
    attend,
    stale_records,
)
from pipeguard.isolation.container_engines import LABEL, ContainerEngine, environment, find_podman
from pipeguard.isolation.container_files import (
    COMMAND,
    Files,
    mount_arguments,
    preamble,
    sort_files,
    store_content,
    submounts_here,
)
from pipeguard.isolation.view import (
    FileView,
    Mount,
    MountKind,
    SandboxedCommand,
    SandboxUser,
    build_view,
)
from pipeguard.launch.child import Child, Command, start
from pipeguard.launch.command import NOT_RUNNABLE, Confinement

FOUND = "container"  # in the folder of isolation
TRIAL_SECONDS = 20.0
MAX_SAID_BYTES = 4000
MOST_SAID = 300
REMOVAL_SECONDS = 3 * ORPHAN_SECONDS
NO_ESCALATION = ("--cap-drop", "ALL", "--security-opt", "no-new-privileges")
RULES = ("/.pipeguard-landlock", "/.pipeguard-rules")  # its program and input
HIDDEN_SYSTEM = ("--tmpfs", "/sys:ro,size=4k,mode=0")  # no engine leaves it out


def start_contained(
    engine: ContainerEngine, server: SandboxedCommand, folder: str
) -> tuple[Child, socket.socket, ended_by_limit.Ended]:
    """Start a server in a container; return before it runs.

    Args:
        engine: the container engine.
        server: the command and its view.
        folder: PipeGuard's folder for records and images.

    Returns:
        Its engine's client, whose pipes are the server's; the channel that delivers its sockets; a
        function to call when it has ended, and its channel is closed.

    Raises:
        LaunchError: a container cannot be made.
    """
    for stale in stale_records(folder):
        _remove(engine, stale)
    files = _with_rules(sort_files(server.view, submounts_here()), server.view, folder)
    image = engine.image(files.image)
    record = ContainerRecord.make(folder)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child: Child | None = None
    try:
        words = engine.words(*_run(engine, server, files, folder, record), image, *COMMAND)
        confinement = _confinement(engine, record, server.ports, words, theirs.fileno())
        child = start(Command(server.argv, environment(), "/", confinement))
        _tell(child, server, files)
    except BaseException:
        ours.close()
        if child:
            child.close()
        record.remove()
        os.close(record.lock)
        raise
    finally:
        theirs.close()

    def end() -> tuple[tuple[str, ...], int]:
        # If the warden was killed, the attendant removes it, unless that was killed too.
        give_up = monotonic() + REMOVAL_SECONDS
        while record.exists() and monotonic() < give_up:
            sleep(0.02)
        if record.exists():
            _remove(engine, record)
        os.close(record.lock)
        return (), 0

    return child, ours, end


def _with_rules(files: Files, view: FileView, folder: str) -> Files:
    """Add Landlock's program and the view's rules, if they apply."""
    if landlock.obstacle():
        return files
    sources = (
        landlock.PROGRAM,
        store_content(folder, landlock.write_rules(view, landlock.version())),
    )
    mounts = (Mount(MountKind.READ, *each) for each in zip(RULES, sources, strict=True))
    return files._replace(mounts=(*mounts, *files.mounts))


def _remove(engine: ContainerEngine, record: ContainerRecord) -> None:
    if engine.remove(record.name, record.identity()):
        record.remove()


def _run(
    engine: ContainerEngine,
    server: SandboxedCommand,
    files: Files,
    folder: str,
    record: ContainerRecord,
) -> Iterator[str]:
    """The words of `podman run` up to the image."""
    filtered = store_content(folder, seccomp.profile_text(os.uname().machine).encode())
    yield from ("run", "--rm", "--interactive", "--pull", "never", "--name", record.name)
    yield from ("--label", f"{LABEL}=container", "--label", f"{LABEL}.folder={folder}")
    yield from ("--network", "none", "--ipc", "private")
    yield from (*NO_ESCALATION, "--security-opt", f"seccomp={filtered}")
    yield from ("--security-opt", "label=disable")  # SELinux: the mounts are this machine's
    yield from ("--read-only", "--hostname", "localhost", "--workdir", "/", "--stop-timeout", "1")
    yield from ("--shm-size", str(server.view.scratch), *HIDDEN_SYSTEM)
    yield from engine.user(server.host)
    yield from engine.limits(server.limits)
    # The server gets our pipes themselves: its output is neither copied nor logged.
    yield from ("--log-driver", "passthrough", "--http-proxy=false", "--no-hosts")
    yield from ("--read-only-tmpfs=false", "--image-volume", "ignore", "--systemd", "false")
    yield from ("--sdnotify", "ignore", "--passwd=false", "--pidfile", record.process_file)
    yield from ("--cidfile", record.identity_file)
    yield from mount_arguments(files.mounts, folder, server.view.scratch)


def _confinement(
    engine: ContainerEngine,
    record: ContainerRecord,
    ports: Sequence[int],
    argv: Sequence[str],
    channel: int,
) -> Confinement:
    def remove() -> None:
        with suppress(LaunchError):  # the next start tries again
            _remove(engine, record)

    def enter() -> None:
        attend(record, remove, ports, channel)
        for descriptor in (channel, record.lock):  # no process of the engine may hold them open
            os.close(descriptor)

    # podman that is killed while it makes a container leaves untraceable remains.
    descriptors = (channel, record.lock)
    return Confinement(argv, descriptors, enter, leave=remove, is_patient=True)


def _tell(child: Child, server: SandboxedCommand, files: Files) -> None:
    """Send the shell in the container its script."""
    rules = RULES if landlock.obstacle() is None else ()
    view = server.view
    variables = server.variables
    told = preamble(server.argv, variables, view.folder, links=files.links, rules=rules)
    rest = memoryview(told)
    with suppress(BrokenPipeError):  # the engine did not start it, and says why
        while rest:
            rest = rest[os.write(child.stdin_fd, rest) :]


def find_engine(host: SandboxUser, folder: str, *, is_new_trial: bool = False) -> ContainerEngine:
    """The engine that works here.

    Args:
        host: this machine and its user.
        folder: PipeGuard's folder for records, images and earlier results.
        is_new_trial: True to ignore earlier results.

    Raises:
        LaunchError: none works; the message says why.
    """
    if (program := find_podman()) is None:
        raise LaunchError("podman is not installed.", NOT_RUNNABLE)
    ways = [
        ContainerEngine(program, runtime, os.getuid() != 0, is_limited)
        for is_limited in (True, False)
        for runtime in ((), ("--runtime", "runc"), ("--runtime", "crun"))
    ]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    here = f"{boot} {os.stat(program).st_mtime_ns} {os.getuid()}"  # while a trial counts
    path = Path(folder, FOUND)
    if not is_new_trial:
        with suppress(OSError, ValueError, IndexError):
            known, chosen = path.read_text("utf-8").splitlines()
            if known == here:
                return ways[int(chosen)]
    problem = ""
    for number, engine in enumerate(ways):
        said = _trial(engine, host, folder)
        if said is None:
            path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
            path.write_text(f"{here}\n{number}\n", "utf-8")
            return engine
        problem = problem or said[:MOST_SAID]
    path.unlink(missing_ok=True)
    raise LaunchError(f"podman does not work here: {problem}", NOT_RUNNABLE)


def _trial(engine: ContainerEngine, host: SandboxUser, folder: str) -> str | None:
    """Run `true` in a container; return the problem, if any."""
    view = build_view(profile.Profile(), host, (), "/", None)
    server = SandboxedCommand(("/bin/true",), {}, view, host, profile.ResourceLimits(), ())
    try:
        child, channel, end = start_contained(engine, server, folder)
    except (LaunchError, OSError) as error:
        return str(error)
    try:
        # podman warns of limits that it ignores, before all that the server says there.
        return read_trial(child, TRIAL_SECONDS, may_print=not engine.is_limited)
    except LaunchError as error:
        return str(error)
    finally:
        child.close()
        channel.close()
        end()


def read_trial(child: Child, seconds: float, *, may_print: bool) -> str | None:
    """Explain how the trial of an engine failed; None if it did not."""
    child.wait_started()
    ended = child.wait(seconds)
    child.end(0)
    printed = " ".join(os.read(child.stderr_fd, MAX_SAID_BYTES).decode(errors="replace").split())
    if ended and ended.code == 0 and (may_print or not printed):
        return None
    return printed or f"the program {ended or 'did not end'}"
