"""The engine `container`: a server in a container of podman, from an empty image.

It sees the same files as under bubblewrap, as mounts of this machine's; its network is one that
only PipeGuard listens in. Its words and variables reach it through its input
(`isolation.container_files`), so that neither `ps` nor `inspect` shows them.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.errors import LaunchError
from pipeguard.isolation import landlock
from pipeguard.isolation.container_attendant import (
    ORPHAN_SECONDS,
    ContainerRecord,
    attend,
    is_process,
    remove_stale,
)
from pipeguard.isolation.container_engines import LABEL, environment
from pipeguard.isolation.container_files import (
    COMMAND,
    mount_arguments,
    preamble,
    sort_files,
    store_content,
    submounts_here,
)
from pipeguard.isolation.seccomp import profile_text
from pipeguard.isolation.view import Mount, MountKind
from pipeguard.launch.child import Child, Command, start
from pipeguard.launch.command import PATIENT_ENGINE, Confinement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pipeguard.isolation.container_engines import ContainerEngine
    from pipeguard.isolation.container_files import Files
    from pipeguard.isolation.profile import ResourceLimits
    from pipeguard.isolation.view import FileView, SandboxUser

    StartedContainer = tuple[Child, socket.socket, Callable[[], None]]

REMOVAL_SECONDS = 3 * ORPHAN_SECONDS
NO_ESCALATION = ("--cap-drop", "ALL", "--security-opt", "no-new-privileges")
RULES = ("/.pipeguard-landlock", "/.pipeguard-rules")  # its program, and what it reads
HIDDEN_SYSTEM = ("--tmpfs", "/sys:ro,size=4k,mode=0")  # no engine leaves it out


class Contained(NamedTuple):
    """The command and files that run in a container.

    Attributes:
        argv: the server's command.
        variables: its environment.
        view: the files that it sees.
        host: this machine and its user.
        limits: what it may use up.
        ports: TCP ports that it may connect to.
    """

    argv: tuple[str, ...]
    variables: Mapping[str, str]
    view: FileView
    host: SandboxUser
    limits: ResourceLimits
    ports: tuple[int, ...]


def start_contained(engine: ContainerEngine, server: Contained, folder: str) -> StartedContainer:
    """Start a server in a container; returns before it runs.

    Args:
        engine: that runs it.
        server: what is run.
        folder: of PipeGuard's, for what containers are made from.

    Returns:
        Its engine's client, whose pipes are the server's; the channel where its sockets come; a
        function to call when it has ended, and its channel is closed.

    Raises:
        LaunchError: a container cannot be made.
    """
    remove_stale(folder, partial(_is_removed, engine))
    files = _with_rules(sort_files(server.view, submounts_here()), server.view, folder)
    image = engine.image(files.image)
    record = ContainerRecord.make(folder)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    words = [*_run(engine, server, files, folder, record), image, *COMMAND]
    confinement = _confinement(engine, server, record, engine.words(*words), theirs)
    child: Child | None = None
    try:
        child = start(Command(server.argv, environment(), "/", confinement))
        _tell(child, server, files)
    except BaseException:
        ours.close()
        if child is not None:
            child.close()
        record.remove()
        raise
    finally:
        theirs.close()

    def clean_up() -> None:
        # Where the warden was killed, the attendant removes it, unless that was killed too.
        give_up = monotonic() + REMOVAL_SECONDS
        while record.exists() and monotonic() < give_up:
            sleep(0.02)
        if record.exists() and _is_removed(engine, record):
            record.remove()

    return child, ours, clean_up


def _with_rules(files: Files, view: FileView, folder: str) -> Files:
    """Add Landlock's program and the view's rules, where they apply."""
    if landlock.obstacle() is not None:
        return files
    sources = (
        landlock.PROGRAM,
        store_content(folder, landlock.write_rules(view, landlock.version())),
    )
    mounts = (Mount(MountKind.READ, *each) for each in zip(RULES, sources, strict=True))
    return files._replace(mounts=(*mounts, *files.mounts))


def _is_removed(engine: ContainerEngine, record: ContainerRecord) -> bool:
    return engine.remove(record.name, record.identity())


def _run(
    engine: ContainerEngine, server: Contained, files: Files, folder: str, record: ContainerRecord
) -> Iterator[str]:
    """The words of `podman run` up to the image."""
    filtered = store_content(folder, profile_text(os.uname().machine).encode())
    yield from ("run", "--rm", "--interactive", "--pull", "never", "--name", record.name)
    yield from ("--label", f"{LABEL}=container", "--label", f"{LABEL}.folder={folder}")
    yield from ("--network", "none", "--ipc", "private")
    yield from (*NO_ESCALATION, "--security-opt", f"seccomp={filtered}")
    yield from ("--security-opt", "label=disable")  # SELinux: the mounts are this machine's
    yield from ("--read-only", "--hostname", "localhost", "--workdir", "/", "--stop-timeout", "1")
    yield from ("--shm-size", str(server.view.scratch), *HIDDEN_SYSTEM)
    yield from engine.user(server.host)
    yield from engine.limits(server.limits)
    # The server gets our pipes themselves: nobody copies or logs what it says.
    yield from ("--log-driver", "passthrough", "--http-proxy=false", "--no-hosts")
    yield from ("--read-only-tmpfs=false", "--image-volume", "ignore", "--systemd", "false")
    yield from ("--sdnotify", "ignore", "--passwd=false", "--pidfile", record.process_file)
    yield from mount_arguments(files.mounts, folder, server.view.scratch)


def _confinement(
    engine: ContainerEngine,
    server: Contained,
    record: ContainerRecord,
    argv: Sequence[str],
    channel: socket.socket,
) -> Confinement:
    identity, is_owner = "", False

    def find() -> int | None:
        nonlocal identity, is_owner
        if not is_owner:  # this is the attendant
            record.join_owners()
            is_owner = True
        process = record.process()
        if process is None or (identity := record.note_identity(process)):
            return process
        return None if is_process(process) else process  # its parent changed meanwhile: look again

    def remove() -> None:
        with suppress(LaunchError):  # the next start tries again
            if engine.remove(record.name, identity or record.identity()):
                record.remove()

    def enter() -> None:
        attend(find, remove, server.ports, channel.fileno())
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, channel.fileno())  # so that no process of the engine holds it open
        os.close(nothing)

    # podman that is killed while it makes a container leaves what nobody finds again.
    return Confinement(argv, (channel.fileno(),), enter, leave=remove, kind=PATIENT_ENGINE)


def _tell(child: Child, server: Contained, files: Files) -> None:
    """Tell the shell in the container what to run."""
    rules = RULES if any(mount.path in RULES for mount in files.mounts) else ()
    view, variables = server.view, server.variables
    told = preamble(server.argv, variables, view.folder, links=files.links, rules=rules)
    rest = memoryview(told)
    with suppress(BrokenPipeError):  # the engine did not start it, and says why
        while rest:
            rest = rest[os.write(child.stdin_fd, rest) :]
