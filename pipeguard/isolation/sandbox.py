"""An isolated server: its profile, its view and its sockets, made into a command to start.

The parts decide nothing about messages: those are judged as without isolation.
"""

# ruff: noqa: PTH103, PTH111, PTH118
# pathlib costs 5 ms, and a server is waiting
from __future__ import annotations

import os
import socket
from hashlib import sha256
from typing import TYPE_CHECKING

from pipeguard.config.directories import cache_folder, config_folder
from pipeguard.isolation import bubblewrap
from pipeguard.isolation.engines import bubblewrap_state
from pipeguard.isolation.namespace import SocketAddress
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.runtimes import folders_among, runtime_of
from pipeguard.isolation.sensitive import sensitive_paths
from pipeguard.isolation.view import Host, environment_of, view_of
from pipeguard.launch.child import Command, start
from pipeguard.state.paths import state_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeguard.isolation.engines import EngineState
    from pipeguard.launch.child import Child

HOMES = "isolation"  # in the state folder
TRIAL_SECONDS = 5.0
MAX_SAID_BYTES = 300
IDENTITY_DIGITS = 24


class Sandbox:
    """Starts one server isolated, as often as is asked.

    Args:
        identity: of the server; its kept home goes by it.
        argv: its command.
        variables: its environment.
        folder: that it starts in.
        profile: what it is given.

    Raises:
        PipeGuardError: its program does not exist, or what is given cannot be.
    """

    def __init__(
        self,
        identity: str,
        argv: Sequence[str],
        variables: Mapping[str, str],
        folder: str,
        profile: Profile,
    ) -> None:
        self._argv = tuple(argv)
        self._host = this_host()
        runtime = runtime_of(argv, variables, folder, self._host)
        given = profile.with_more(Profile(write=folders_among(argv[1:], folder, self._host)))
        self.profile = given._replace(limits=profile.limits)
        kept_home = _kept_home(identity) if profile.keeps_home else None
        self._view = view_of(self.profile, self._host, runtime.needed, folder, kept_home)
        self._variables = environment_of(variables, self._view)
        self._argv = (runtime.path, *argv[1:])

    def start(self) -> Child:
        """Start the server; returns at once.

        Raises:
            LaunchError: the system has no descriptors or processes left.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        confinement = bubblewrap.confine(
            self._argv,
            self._view,
            self._host,
            self.profile.limits,
            bubblewrap.Sockets(self._addresses(), theirs.fileno()),
        )
        try:
            child = start(Command(self._argv, self._variables, None, confinement))
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.detach()
            for descriptor in confinement.descriptors:
                os.close(descriptor)
        child.on_close = ours.close
        return child

    def _addresses(self) -> tuple[SocketAddress, ...]:
        return ()


def this_host() -> Host:
    """This machine and its user."""
    import pwd

    home = os.path.realpath(os.path.expanduser("~"))
    uid = os.getuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = "user"
    own = (config_folder(), str(state_folder()), cache_folder())
    return Host(home, user, uid, os.getgid(), sensitive_paths(home, own))


def try_bubblewrap() -> EngineState:
    """Run a program isolated, and say whether that works here."""
    return bubblewrap_state(_trial)


def _trial() -> str | None:
    """Run `true` isolated; returns what was wrong."""
    sandbox = Sandbox("trial", ["/bin/true"], {"PATH": os.defpath}, "/", Profile())
    child = sandbox.start()
    try:
        child.wait_started()
        ended = child.wait(TRIAL_SECONDS)
        if ended is not None and ended.code == 0:
            return None
        child.end(0)
        said = os.read(child.stderr_fd, MAX_SAID_BYTES).decode("utf-8", "replace").strip()
        return said or f"the program {ended or 'did not end'}"
    finally:
        child.close()


def _kept_home(identity: str) -> str:
    """The folder that is a server's home, made if it is not there."""
    name = sha256(identity.encode()).hexdigest()[:IDENTITY_DIGITS]
    path = os.path.join(str(state_folder()), HOMES, name, "home")
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path
