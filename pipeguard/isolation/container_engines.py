"""The program that runs containers here, podman, and how it is called.

What this system makes it do without is found by trying (`isolation.container`). Nothing of
the user's own settings for containers is read, except where images are stored: what contains a
server is on the command line.
"""

from __future__ import annotations

import os
import subprocess
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.errors import LaunchError
from pipeguard.isolation.bubblewrap import FOLDERS, process_limits
from pipeguard.isolation.cgroups import MEMORY_FACTOR, remove_container_group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeguard.isolation.profile import ResourceLimits
    from pipeguard.isolation.view import SandboxUser

RUNTIMES = ("crun", "runc")
CALL_SECONDS = 60.0
LABEL = "pipeguard"
IMAGE_DIGITS = 16
_KEPT = ("LANG", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "DBUS_SESSION_BUS_ADDRESS")
_SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin")  # where runtimes are


class ContainerEngine(NamedTuple):
    """One way to run containers.

    Attributes:
        program: the path of podman.
        options: before its command, as `--runtime runc`.
        is_rootless: True if its containers' root is this user.
        is_limited: True if it can bound the memory and processes of a container together.
    """

    program: str
    options: tuple[str, ...] = ()
    is_rootless: bool = False
    is_limited: bool = True

    @property
    def name(self) -> str:
        """For people: its program, and what it lacks."""
        name = " ".join((self.program, *self.options)) + ", rootless" * self.is_rootless
        return name + ", without limits of memory and processes together" * (not self.is_limited)

    def words(self, *words: str) -> tuple[str, ...]:
        """A command of it."""
        return (self.program, "--remote=false", "--log-level=error", *self.options, *words)

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
        """The name of the image with this content, which is made if it is not there.

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
        """Kill and remove a container; whether it is gone.

        Args:
            name: of the container.
            identity: that podman gave it; empty if it gave none. If podman or its runtime was
                killed while it made the container, the runtime has it still, and podman does not.
        """
        removed = self.call("rm", "--force", "--volumes", "--ignore", "--time", "0", name)
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
        return removed.returncode == 0

    def user(self, host: SandboxUser) -> tuple[str, ...]:
        """Options that make the server's user the one that PipeGuard has."""
        own = ("--user", f"{host.uid}:{host.gid}")
        return ("--userns", "keep-id", *own) if self.is_rootless else own

    def limits(self, limits: ResourceLimits) -> Iterator[str]:
        """Options that bound what a container uses."""
        if self.is_limited and limits.memory is not None:
            yield from ("--memory", str(MEMORY_FACTOR * limits.memory))
        if self.is_limited and limits.processes is not None:
            yield from ("--pids-limit", str(limits.processes))
        # podman raises "nofile" and "nproc" unless they are said, which not every root may.
        for name, _, soft, hard in process_limits(limits):
            yield from ("--ulimit", f"{name}={soft}:{hard}")


def find_podman() -> str | None:
    """The path of podman, if it is installed; never one that a server's environment names."""
    for folder in FOLDERS:
        path = os.path.join(folder, "podman")
        if os.access(path, os.X_OK):
            return path
    return None


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
