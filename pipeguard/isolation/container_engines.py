"""Programs that run containers here: podman and docker, and how each is called.

Which one works, and what this system makes it do without, is found by trying
(`isolation.container_trial`). Nothing of the user's own settings for containers is read, except
where images are stored: what contains a server is said on the command line alone.
"""

from __future__ import annotations

import os
import resource
import subprocess
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.errors import LaunchError
from pipeguard.isolation.bubblewrap import FOLDERS
from pipeguard.isolation.cgroups import MEMORY_FACTOR, remove_container_group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeguard.isolation.profile import ResourceLimits
    from pipeguard.isolation.view import SandboxUser

PODMAN, DOCKER = "podman", "docker"
RUNTIMES = ("crun", "runc")
CALL_SECONDS = 60.0
LABEL = "pipeguard"
MOST_PROCESSES = 2**22  # PID_MAX_LIMIT of Linux: as good as none
IMAGE_DIGITS = 16
_KEPT = ("LANG", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "DBUS_SESSION_BUS_ADDRESS")
_SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin")  # where runtimes are


class ContainerEngine(NamedTuple):
    """One way to run containers.

    Attributes:
        kind: PODMAN or DOCKER.
        program: the path of its client.
        options: before its command, as `--runtime runc`.
        socket: of docker's daemon; empty for podman, which has none.
        is_rootless: whether its containers' root is this user.
        is_limited: whether it can bound the memory and processes of a container together.
        joins: whether we may enter the network of its containers, to give them a way out.
    """

    kind: str
    program: str
    options: tuple[str, ...] = ()
    socket: str = ""
    is_rootless: bool = False
    is_limited: bool = True
    joins: bool = True

    @property
    def name(self) -> str:
        """For people: its program, and what it lacks."""
        parts = [" ".join((self.program, *self.options))]
        parts += ["rootless"] if self.is_rootless else []
        parts += [] if self.is_limited else ["without limits of memory and processes together"]
        parts += [] if self.joins else ["without hosts: its daemon is root's"]
        return ", ".join(parts)

    def words(self, *words: str) -> tuple[str, ...]:
        """A command of it."""
        if self.kind == PODMAN:
            return (self.program, "--remote=false", "--log-level=error", *self.options, *words)
        return (self.program, "--host", f"unix://{self.socket}", *self.options, *words)

    def call(self, *words: str, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command of it.

        Raises:
            LaunchError: it does not end.
        """
        try:
            return subprocess.run(
                self.words(*words),
                env=environment(),
                input=content,
                capture_output=True,
                timeout=CALL_SECONDS,
                check=False,
                cwd="/",
            )
        except subprocess.TimeoutExpired:
            raise LaunchError(
                f"{self.program} {words[0]}: no answer in {CALL_SECONDS:.0f} seconds."
            ) from None

    def image(self, archive: bytes) -> str:
        """The name of the image with this content, which is made where it is not there.

        Raises:
            LaunchError: it cannot be made.
        """
        name = f"localhost/{LABEL}:{sha256(archive).hexdigest()[:IMAGE_DIGITS]}"
        if self.call("image", "inspect", "--format", "{{.Id}}", name).returncode:
            change = f"LABEL {LABEL}=image"
            made = self.call("import", "--change", change, "-", name, content=archive)
            if made.returncode:
                raise LaunchError(f"{self.program} import: {read_output(made)}")
        return name

    def remove(self, name: str, identity: str = "") -> bool:
        """Kill and remove a container; whether it is gone.

        Args:
            name: of the container.
            identity: that podman gave it, where that is known; where podman or its runtime was
                killed while it made the container, the runtime has it still, and podman does not.
        """
        if self.kind == PODMAN and not identity:
            found = self.call("container", "inspect", "--format", "{{.Id}}", name).stdout
            identity = found.decode().strip()
        ignore = ("--ignore", "--time", "0") if self.kind == PODMAN else ()
        removed = self.call("rm", "--force", "--volumes", *ignore, name)
        for folder in (runtime_folder(), "/run") if identity else ():
            for runtime in RUNTIMES:
                if os.path.exists(os.path.join(folder, runtime, identity)):
                    subprocess.run(
                        (runtime, "delete", "--force", identity),
                        env=environment(),
                        capture_output=True,
                        timeout=CALL_SECONDS,
                        check=False,
                    )
        if identity:
            remove_container_group(identity)
        return removed.returncode == 0 or b"o such container" in removed.stderr

    def process(self, name: str) -> int | None:
        """The number of a container's process, once docker has started it."""
        found = self.call("inspect", "--format", "{{.State.Pid}}", name).stdout.strip()
        return int(found) if found.isdigit() and found != b"0" else None

    def user(self, host: SandboxUser) -> tuple[str, ...]:
        """Options that make the server's user the one that PipeGuard has."""
        own = ("--user", f"{host.uid}:{host.gid}")
        if not self.is_rootless:
            return own
        return ("--userns", "keep-id", *own) if self.kind == PODMAN else ("--user", "0:0")

    def limits(self, limits: ResourceLimits) -> Iterator[str]:
        """Options that bound what a container uses."""
        if self.is_limited and limits.memory is not None:
            yield from ("--memory", str(MEMORY_FACTOR * limits.memory))
        if self.is_limited and limits.processes is not None:
            yield from ("--pids-limit", str(limits.processes))
        # docker's containers share the user's count of processes with all else that it runs.
        counted = limits.processes if self.kind == PODMAN else None
        for name, number, value in (
            ("nofile", resource.RLIMIT_NOFILE, limits.files),
            ("nproc", resource.RLIMIT_NPROC, counted),
            ("data", resource.RLIMIT_DATA, limits.memory),
            ("fsize", resource.RLIMIT_FSIZE, limits.file_size),
            ("cpu", resource.RLIMIT_CPU, limits.cpu),
            ("core", resource.RLIMIT_CORE, 0),
        ):
            # podman raises these two unless they are said, which not every root may.
            is_needed = self.kind == PODMAN and name in ("nofile", "nproc")
            if value is not None or is_needed:
                most = _bound_limit(number, value)
                hard = most + 1 if name == "cpu" else most  # as under bubblewrap
                yield from ("--ulimit", f"{name}={most}:{hard}")

    def own_options(self) -> Iterator[str]:
        """Options that only it has, or names its own way."""
        if self.kind == DOCKER:
            yield from ("--log-driver", "none")  # as podman's `passthrough`, but for its output
            return
        # The server gets our pipes themselves: nobody copies or logs what it says.
        yield from ("--log-driver", "passthrough", "--http-proxy=false", "--no-hosts")
        yield from ("--read-only-tmpfs=false", "--image-volume", "ignore", "--systemd", "false")
        yield from ("--sdnotify", "ignore", "--passwd=false")


def find_client(kind: str) -> str | None:
    """The path of a client, where it is installed; never one that a server's environment names."""
    for folder in FOLDERS:
        path = os.path.join(folder, kind)
        if os.access(path, os.X_OK):
            return path
    return None


def sockets() -> Iterator[str]:
    """Addresses of docker's daemon, in this order: the user's choice, the user's own, root's."""
    chosen = os.environ.get("DOCKER_HOST", "")
    if chosen:  # of another machine, or through a network: its files are not this machine's
        path = chosen.removeprefix("unix://")
        if chosen.startswith("unix://") and os.path.exists(path):
            yield path
        return
    own = os.path.join(runtime_folder(), "docker.sock")
    yield from (path for path in (own, "/var/run/docker.sock") if os.path.exists(path))


def runtime_folder() -> str:
    """The user's folder of sockets (XDG base directory specification)."""
    return os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"


def environment() -> dict[str, str]:
    """The client's environment: nothing of a server's."""
    import pwd

    found = {name: os.environ[name] for name in _KEPT if name in os.environ}
    try:
        found["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        found["HOME"] = os.environ.get("HOME", "/")
    if "XDG_RUNTIME_DIR" not in found and os.path.isdir(runtime_folder()):
        found["XDG_RUNTIME_DIR"] = runtime_folder()
    # What containers.conf says could undo what is said here.
    return found | {"PATH": ":".join((*FOLDERS, *_SBIN)), "CONTAINERS_CONF": os.devnull}


def read_output(ended: subprocess.CompletedProcess[bytes]) -> str:
    """The client's output, as one line."""
    return " ".join((ended.stderr or ended.stdout).decode("utf-8", "replace").split())


def _bound_limit(number: int, value: int | None) -> int:
    """A limit that is not above our own."""
    _, most = resource.getrlimit(number)
    known = (each for each in (value, most) if each is not None)
    return min((each for each in known if each != resource.RLIM_INFINITY), default=MOST_PROCESSES)
