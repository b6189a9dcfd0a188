"""An isolated server: its profile, its view and its sockets, made into a command to start.

The parts decide nothing about messages: those are judged as without isolation.
"""

from __future__ import annotations

import os
from functools import partial
from os.path import expanduser, join, realpath
from typing import IO, TYPE_CHECKING

from pipeguard.auth import resolve_arguments
from pipeguard.config.directories import cache_folder, config_folder
from pipeguard.errors import LaunchError
from pipeguard.isolation.egress.hosts import HostRules
from pipeguard.isolation.egress.proxy import Egress
from pipeguard.isolation.egress.sockets import PROXY_PORT
from pipeguard.isolation.egress.state import EgressState
from pipeguard.isolation.engines import Isolation
from pipeguard.isolation.kept_homes import make_home, make_places
from pipeguard.isolation.packages import find_package
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.runtimes import Runtime, find_runtime, starting_folder, with_paths
from pipeguard.isolation.sensitive import sensitive_paths, session_sockets
from pipeguard.isolation.server_view import server_view
from pipeguard.isolation.view import (
    SandboxedCommand,
    SandboxUser,
    Say,
    Variables,
    filter_environment,
)
from pipeguard.launch.child import Child, Command
from pipeguard.state.paths import clients_folder, state_folder_text

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pipeguard.isolation.egress.judge import Report
    from pipeguard.isolation.egress.outer_proxy import OuterProxies
    from pipeguard.isolation.ended_by_limit import Ended
    from pipeguard.isolation.roots import StoredRoots

HOMES, PACKAGES, ROOTS = "isolation", "packages", "roots"  # in the state folder, and in that one
WEB_PORTS = {80, 443}  # connections to these are refused by name and reported

PROXY_VARIABLES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
OWN_PROXY = f"http://127.0.0.1:{PROXY_PORT}"


def _unheard(*_texts: object) -> None:
    """Discard reports: for a sandbox that runs unattended."""


class Sandbox:
    """Starts one server isolated, any number of times.

    Args:
        identity: of the server, whose name is its first line; determines its kept home.
        command: its command and environment.
        profile: its grants.
        report: called for each of its connections, in a thread of its own.
        say: informs the user of slow steps.
        engine: BUBBLEWRAP or CONTAINER.
        fixed: read-only files in a folder that it may change.
        proxies: those of the user's own network.

    Raises:
        PipeGuardError: its program does not exist, or a grant is impossible.
    """

    def __init__(  # noqa: PLR0913  what one server is
        self,
        identity: str,
        command: Command,
        profile: Profile,
        *,
        report: Report = _unheard,
        say: Say = _unheard,
        engine: str = Isolation.BUBBLEWRAP,
        fixed: tuple[str, ...] = (),
        proxies: OuterProxies | None = None,
    ) -> None:
        self.engine = engine
        self._name = identity.partition("\n")[0]
        self._say = say
        self._rules = HostRules.parse(profile.hosts, profile.loopback)
        self._report = report
        self._proxies = proxies
        self._ways_out: set[Egress] = set()
        try:
            self._look(identity, command, profile, fixed)
        except OSError as error:
            raise LaunchError(f"{error.filename}: {error.strerror}.") from None

    def _look(
        self, identity: str, command: Command, profile: Profile, fixed: tuple[str, ...]
    ) -> None:
        """Determine the files that the server needs and its view."""
        self._host = this_host()
        folder = starting_folder(command)
        install = partial(installer, engine=self.engine, proxies=self._proxies, say=self._say)
        argv, runtime, self._in_use = prepare_program(
            command, folder, self._host, start=install, say=self._say
        )
        words = with_paths(argv, folder)
        self._roots: StoredRoots | None = None
        if profile.roots:
            from pipeguard.isolation.roots import StoredRoots

            place = join(isolation_folder(), ROOTS)
            whose = f"{identity}\n{folder}"
            self._roots = StoredRoots(place, whose, profile, self._host, self._say)
            profile = self._roots.given.with_more(profile)  # whose limits count
        kept_home = make_home(isolation_folder(), identity) if profile.keeps_home else None
        seen = server_view(
            words,
            runtime,
            profile,
            host=self._host,
            folder=folder,
            kept_home=kept_home,
            fixed=fixed,
        )
        self.seen = seen
        self.profile = seen.profile
        self.view = seen.files
        if kept_home:
            make_places(kept_home, self._host.home, self.view.mounts)
        self._variables = with_own_proxy(filter_environment(command.env, self.view), self._rules)
        self._argv = (runtime.path, *argv[1:])

    def start(self) -> Child:
        """Start the server; return at once.

        Raises:
            PipeGuardError: a secret is missing, the system has no descriptors or processes left, or
                no container works.
        """
        ports = tuple(sorted(self._rules.ports | WEB_PORTS))
        argv, variables = add_secrets(self._argv, self._variables)
        child, channel, end = self._start_engine(
            SandboxedCommand(argv, variables, self.view, self._host, self.profile.limits, ports)
        )
        state = EgressState(self._rules, self._report, proxies=self._proxies)
        way_out = Egress(channel, state)
        self._ways_out.add(way_out)
        way_out.update(self._rules)  # if they were changed in between
        way_out.start()

        def close() -> None:
            self._forget(way_out)
            from pipeguard.isolation.ended_by_limit import limits_told

            for text in limits_told(self._name, child.wait(0), self.profile.limits, *end()):
                self._say(text)

        child.on_close = close
        return child

    def _start_engine(self, server: SandboxedCommand) -> tuple[Child, socket.socket, Ended]:
        if self.engine != Isolation.CONTAINER:
            from pipeguard.isolation.bubblewrap import start_confined  # only Linux has its imports

            return start_confined(server, self._say)
        from pipeguard.isolation.container import find_engine, start_contained
        from pipeguard.isolation.container_files import unsettable

        folder = isolation_folder()
        engine = find_engine(self._host, folder)
        if left_out := unsettable(self._variables):
            self._say(f"a container's shell cannot set {', '.join(left_out)}, which is left out")
        return start_contained(engine, server, folder)

    def note_roots(self, addresses: tuple[str, ...]) -> None:
        """Store the client's roots, for the server's next start."""
        if self._roots:
            try:
                self._roots.note(addresses)
            except OSError as error:
                self._say(f"the client's roots could not be stored for the next start: {error}")

    def update(self, profile: Profile) -> None:
        """Judge connections by another profile from now on.

        A port that was not given at the start is opened for direct connections, too.

        Raises:
            PolicyError: a host cannot be read.
        """
        self._rules = HostRules.parse(profile.hosts, profile.loopback)
        for way_out in tuple(self._ways_out):
            way_out.update(self._rules)

    def report_refused(self) -> None:
        """Report the refused connections of its servers so far."""
        for way_out in tuple(self._ways_out):
            way_out.report_refused()

    def hang_up(self) -> None:
        """End all connections of its servers, and wait until they are reported."""
        for way_out in tuple(self._ways_out):
            self._forget(way_out)

    def _forget(self, way_out: Egress) -> None:
        way_out.close()
        self._ways_out.discard(way_out)


def prepare_program(
    command: Command,
    folder: str,
    host: SandboxUser,
    *,
    start: Callable[[Command, Profile], Child],
    say: Say,
) -> tuple[tuple[str, ...], Runtime, IO[str] | None]:
    """Find a server's program, and fetch its package first if it has one.

    Args:
        command: the server's command.
        folder: its working directory.
        host: this machine and its user.
        start: starts an installer isolated.
        say: informs the user of slow steps.

    Returns:
        The command line to run, its program's needs, and an open file that keeps the package from
        being removed.
    """
    package = find_package(command.argv)
    if not package:
        return command.argv, find_runtime(command.argv, command.env, folder, host), None
    from pipeguard.isolation.fetching import fetch_package, fetched_runtime

    there, in_use = fetch_package(package, packages_folder(), command.env, start, say)
    return *fetched_runtime(there, package, command, folder, host), in_use


def add_secrets(
    argv: tuple[str, ...], variables: Variables
) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """A command and its variables, with secrets replacing the references in its arguments.

    A shell puts them there, from variables that it removes: programs that isolate or trace a server
    run as long as it does, and every user can read their command lines.

    Raises:
        PipeGuardError: a secret is missing.
    """
    words = resolve_arguments(argv)
    if words == argv:
        return argv, variables
    names = [f"PIPEGUARD_{place}" for place in range(len(words))]
    given = " ".join(f'"${name}"' for name in names)
    script = f'set -- {given}; unset {" ".join(names)}; exec "$@"'
    return ("/bin/sh", "-c", script), {**variables, **dict(zip(names, words, strict=True))}


def packages_folder() -> Path:
    """The folder for fetched packages."""
    from pathlib import Path

    return Path(isolation_folder(), PACKAGES)


def isolation_folder() -> str:
    """The folder for kept homes and fetched packages, and records and images of containers."""
    return join(state_folder_text(), HOMES)


def installer(
    command: Command,
    profile: Profile,
    engine: str = Isolation.BUBBLEWRAP,
    proxies: OuterProxies | None = None,
    say: Say = _unheard,
) -> Child:
    """Start an installer isolated, which cannot mark its own package as complete."""
    from pipeguard.isolation.fetching import DONE, refusal_reporter

    fixed = tuple(join(folder, DONE) for folder in profile.write)
    return Sandbox(
        "installer",
        command,
        profile,
        report=refusal_reporter(say),
        say=say,
        engine=engine,
        fixed=fixed,
        proxies=proxies,
    ).start()


def home_folder() -> str:
    """The user's home; an isolated server has its own at the same path."""
    return realpath(expanduser("~"))


def this_host() -> SandboxUser:
    """This machine and its user."""
    import pwd

    home = home_folder()
    uid = os.getuid()
    folders = config_folder(), state_folder_text(), cache_folder(), clients_folder()
    own = (*folders, *session_sockets(uid))
    sensitive = sensitive_paths(home, own)
    try:
        known = pwd.getpwuid(uid)
    except KeyError:
        user = "user"
    else:
        user = known.pw_name
        real = realpath(known.pw_dir)
        if real != home:  # whatever HOME says, the keys are there
            sensitive = tuple(dict.fromkeys((*sensitive, *sensitive_paths(real, ()))))
    packages = join(isolation_folder(), PACKAGES)
    return SandboxUser(home, user, uid, os.getgid(), sensitive, packages)


def with_own_proxy(variables: Variables, rules: HostRules) -> dict[str, str]:
    """Variables with PipeGuard's proxy instead of one that the server cannot connect to itself.

    Args:
        variables: of the server.
        rules: the hosts that it may reach.
    """
    return {
        name: OWN_PROXY
        if name.upper() in PROXY_VARIABLES and value and not _is_given(value, rules)
        else value
        for name, value in variables.items()
    }


def _is_given(url: str, rules: HostRules) -> bool:
    from pipeguard.isolation.egress.outer_proxy import OuterProxy, OuterProxyError

    try:
        host, port = OuterProxy.parse(url).at
    except OuterProxyError:
        return False
    return port in rules.allowed_ports(host)
