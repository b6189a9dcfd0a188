"""The program that runs containers here, podman, and its command line.

Trials find the features that this system lacks (`isolation.container`). None of the user's own
container settings are read, except the place of images: the command line has everything that
contains a server.
"""

import os
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from os.path import exists, isdir, join
from typing import NamedTuple

from pipeguard.errors import LaunchError
from pipeguard.isolation import bubblewrap, cgroups, profile, view

RUNTIMES = ("crun", "runc")
CALL_SECONDS = 60.0
LABEL = "pipeguard"
IMAGE_DIGITS = 16
_KEPT = ("LANG", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "DBUS_SESSION_BUS_ADDRESS")
_SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin")  # folders of runtimes


class ContainerEngine(NamedTuple):
    """One way to run containers.

    Attributes:
        program: the path of podman.
        options: before its command, such as `--runtime runc`.
        is_rootless: True if its containers' root is this user.
        is_limited: True if it can bound the memory and processes of a container together.
    """

    program: str
    options: tuple[str, ...] = ()
    is_rootless: bool = False
    is_limited: bool = True

    @property
    def name(self) -> str:
        """Name for people: its program and missing features."""
        name = " ".join((self.program, *self.options)) + ", rootless" * self.is_rootless
        return name + ", without limits of memory and processes together" * (not self.is_limited)

    def words(self, *words: str) -> tuple[str, ...]:
        """The command line of an engine command."""
        return (self.program, "--remote=false", "--log-level=error", *self.options, *words)

    def call(self, *words: str, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run an engine command.

        Raises:
            LaunchError: the command does not end.
        """
        try:
            return _run(self.words(*words), content)
        except subprocess.TimeoutExpired:
            raise LaunchError(
                f"{self.program} {words[0]}: no answer in {CALL_SECONDS:.0f} seconds."
            ) from None

    def image(self, archive: bytes) -> str:
        """The name of the image with this content, made if it does not exist.

        Raises:
            LaunchError: it cannot be made.
        """
        name = f"localhost/{LABEL}:{sha256(archive).hexdigest()[:IMAGE_DIGITS]}"
        if self.call("image", "inspect", "--format", "{{.Id}}", name).returncode:
            change = f"LABEL {LABEL}=image"
            made = self.call("import", "--change", change, "-", name, content=archive)
            if made.returncode:
                said = (made.stderr or made.stdout).decode("utf-8", "replace")
                raise LaunchError(f"{self.program} import: {' '.join(said.split())}")
        return name

    def remove(self, name: str, identity: str) -> bool:
        """Kill and remove a container; True if it is gone.

        Args:
            name: of the container.
            identity: podman's own for it; empty if it gave none. If podman or its runtime was
                killed while it made the container, the runtime has it still, and podman does not.
        """
        removed = self.call("rm", "--force", "--volumes", "--ignore", "--time", "0", name)
        is_gone = removed.returncode == 0
        if not identity:
            return is_gone
        for folder in (runtime_folder(), "/run"):
            for runtime in RUNTIMES:
                if exists(join(folder, runtime, identity)):
                    _run((runtime, "delete", "--force", identity))
        cgroups.remove_container_group(identity)
        return is_gone

    def user(self, host: view.SandboxUser) -> tuple[str, ...]:
        """Options that run the server as PipeGuard's own user."""
        own = ("--user", f"{host.uid}:{host.gid}")
        return ("--userns", "keep-id", *own) if self.is_rootless else own

    def limits(self, limits: profile.ResourceLimits) -> Iterator[str]:
        """Options that limit a container's resources."""
        if self.is_limited and limits.memory is not None:
            yield from ("--memory", str(cgroups.MEMORY_FACTOR * limits.memory))
        if self.is_limited and limits.processes is not None:
            yield from ("--pids-limit", str(limits.processes))
        # podman raises "nofile" and "nproc" unless they are set, which not every root may.
        for name, _, soft, hard in bubblewrap.process_limits(limits):
            yield from ("--ulimit", f"{name}={soft}:{hard}")


def _run(command: tuple[str, ...], content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a program of podman's with this input."""
    return subprocess.run(
        command,
        env=environment(),
        input=content,
        capture_output=True,
        timeout=CALL_SECONDS,
        check=False,
        cwd="/",
    )


def find_podman() -> str | None:
    """The path of podman, if it is installed; never taken from a server's environment."""
    return bubblewrap.find_in_system("podman")


def runtime_folder() -> str:
    """The user's folder of sockets (XDG base directory specification)."""
    return os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"


def environment() -> dict[str, str]:
    """The client's environment, without the server's variables."""
    import pwd

    found = {name: os.environ[name] for name in _KEPT if name in os.environ}
    try:
        found["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        found["HOME"] = os.environ.get("HOME", "/")
    if "XDG_RUNTIME_DIR" not in found and isdir(runtime_folder()):
        found["XDG_RUNTIME_DIR"] = runtime_folder()
    # containers.conf could undo these options.
    return found | {"PATH": ":".join((*bubblewrap.FOLDERS, *_SBIN)), "CONTAINERS_CONF": os.devnull}
