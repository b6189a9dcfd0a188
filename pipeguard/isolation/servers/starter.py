"""Starts a server, isolated if an option or the policy asks for that."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from itertools import islice
from threading import Lock
from time import monotonic, time
from typing import TYPE_CHECKING, Protocol

from pipeguard.auth import resolve_arguments
from pipeguard.config.user_policy import mentions
from pipeguard.errors import PipeGuardError, PolicyError
from pipeguard.isolation.docker_servers import is_of_containers
from pipeguard.isolation.engines import Isolation, choose_engine
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.servers.outer_proxies import outer_proxies
from pipeguard.launch.child import Child, Command, start

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeguard.config.isolate_key import IsolateEntries
    from pipeguard.config.options import WrapOptions
    from pipeguard.firewall.finding import Finding
    from pipeguard.firewall.session.guard import Guard
    from pipeguard.identity.server_name import Launched
    from pipeguard.isolation.egress.judge import EgressRecord, Wall
    from pipeguard.isolation.egress.recording import ConnectionRecorder
    from pipeguard.isolation.learning.learner import Learner
    from pipeguard.isolation.sandbox import Sandbox
    from pipeguard.log import Log
    from pipeguard.state.verdict_writer import EndedConnection
    from pipeguard.transports.channel import Channel

MOST_MADE = 100  # files and folders reported for one run


class GuardedRun(Protocol):
    """The run of a server: its guard, and the log of its events."""

    guard: Guard
    on_policy: list[Callable[[], None]]
    log: Log

    def connect(self, connection: EndedConnection) -> str:
        """Record a connection, and return the name of its event."""

    def notice(self, finding: Finding) -> None:
        """Record a finding that belongs to no single message."""


class ServerStarter:
    """Starts the server that the options of `wrap` name, isolated if that is asked for.

    Args:
        options: of `wrap`.
        variables: the server's environment.
        is_shared: True if several clients share each started server.

    Raises:
        PipeGuardError: isolation is asked for and cannot be given; then no server is started.
    """

    def __init__(
        self, options: WrapOptions, variables: Mapping[str, str], *, is_shared: bool = False
    ) -> None:
        self._options = options
        self._is_shared = is_shared
        self._command = Command(options.command, variables, options.values.get("--cwd"))
        self._connections = _IsolatedConnections()
        self._asked = ""  # the engine, by its option or the policy
        self._sandbox: Sandbox | None = None
        self._run: GuardedRun | None = None
        self._learner: Learner | None = None
        self._began = time()
        if options.values.get("--isolate") == Isolation.LEARN:
            self._learner = self._made_learner()
        else:
            self._sandbox = self._make()

    @cached_property
    def _who(self) -> Launched:
        from pipeguard.identity.server_name import identify_server

        return identify_server(self._options.command, self._options.values.get("--cwd"))

    @property
    def _wanted_name(self) -> str:
        return self._options.values.get("--name") or self._who.name

    @cached_property
    def _name(self) -> str:
        """The server's name in the audit, the pins and the policy.

        Another server that is started under a name is given nothing that this one was given.

        Raises:
            StateError: the store cannot be opened.
        """
        from pipeguard.state.store import open_store

        with open_store() as store:
            return store.name_server(self._options.values.get("--name", ""), self._who)

    def start(self) -> Child:
        """Start the server; return at once.

        Raises:
            PipeGuardError: a secret is missing, or the system has no descriptors or processes left.
        """
        if isolated := self._sandbox or self._learner:
            return isolated.start()
        command = self._command
        return start(Command(resolve_arguments(command.argv), command.env, command.cwd))

    def attach(self, run: GuardedRun) -> None:
        """Write its connections to the audit, and follow the policy from now on."""
        if not self._sandbox:
            return
        # Here, because a server is waiting before.
        from pipeguard.isolation.walls.witness import WallWitness

        self._run = run
        run.guard.shared.obstacles = witness = WallWitness(self._sandbox)
        self._connections.attach(run.connect, witness.add_refused)
        run.on_policy.append(self.update)

    def with_roots(self, channel: Channel) -> Channel:
        """The channel to a server, which notes the roots of its one client."""
        if self._sandbox is None or not self._sandbox.profile.roots:
            return channel
        from pipeguard.isolation.roots import RootsChannel

        return RootsChannel(channel, self._sandbox.note_roots)

    def update(self) -> None:
        """Read the policy again: hosts and ports apply at once, the rest when the server starts.

        The firewall reports errors in the file; here an invalid file changes nothing.
        """
        if not self._sandbox:
            return
        from pipeguard.isolation.servers.sources import list_sources, whole_profile

        try:
            entries = self._entries()
        except PipeGuardError:
            return
        try:
            sources = list_sources(self._options, entries, self._asked, self._command)
            self._sandbox.update(whole_profile(sources))
        except PipeGuardError as error:
            if self._run:
                with suppress(OSError, ValueError):  # standard error is closed
                    what = "the policy's new grants for this server cannot be applied"
                    self._run.log("error", f"{what}; it keeps the earlier ones", why=str(error))

    def hang_up(self) -> None:
        """End all connections, and write all of them; the servers have ended."""
        if self._sandbox:
            self._sandbox.hang_up()
            self._connections.close()
        if self._run and self._sandbox:
            _note_made(self._sandbox, self._began, self._run.notice)
            self._began = time()  # the run outlives a server that is started again
            self._run.on_policy.remove(self.update)
            self._run = None

    def _make(self) -> Sandbox | None:
        options = self._options
        entries = self._entries()
        asked = options.values.get("--isolate") or self._engine(entries)
        is_container = is_of_containers(options.command)
        is_chosen = is_container and asked == Isolation.AUTO
        engine = Isolation.CONTAINER if is_chosen else choose_engine(asked)
        if engine == Isolation.NONE:
            if (useless := options.isolation()) and "--isolate" not in options.values:
                raise PolicyError(
                    f"{min(useless)} would have no effect: the server is not isolated. Add"
                    " --isolate auto, or leave it out."
                )
            return None
        from pipeguard.isolation.egress.addresses import describe_excess
        from pipeguard.isolation.sandbox import Sandbox, home_folder
        from pipeguard.isolation.servers.sources import (
            check_roots,
            find_shipped,
            list_sources,
            whole_profile,
        )

        command = self._command
        self._asked = Isolation.NONE if is_container else asked
        sources = list_sources(options, entries, self._asked, command)
        named = whole_profile(sources[:2])
        if named.roots:
            is_shared = self._is_shared or "--listen" in options.values
            check_roots(self._name, is_shared=is_shared, is_container=is_container)
        if is_container:
            self._harden(named)
            return None
        profile = whole_profile(sources)
        if shipped := find_shipped(asked, options.command):
            variables = shipped.resolve_variables(home_folder()) | command.env
            command = Command(command.argv, variables, command.cwd)
        for entry in profile.hosts:
            if what := describe_excess(entry):
                _say(f"{self._name} may reach {what}: {entry}. Name the hosts it needs.", "warning")
        # It is given what the policy has, and a kept home, by its name in the store; otherwise no
        # server waits for the store.
        identity = self._name if entries else self._wanted_name
        if profile.keeps_home:
            identity = f"{self._name}\n{self._who.identity}"
        report = self._connections.report
        proxies = outer_proxies(options)
        return Sandbox(
            identity, command, profile, report=report, say=_say, engine=engine, proxies=proxies
        )

    def _engine(self, entries: IsolateEntries) -> str:
        """The engine that the policy names; a server kept apart from a namesake gets that one's.

        It gets none of the namesake's grants: a person gave those to another server.
        """
        if entries:
            return entries[0].engine
        engine = next((each.engine for each in self._entries(self._wanted_name)), Isolation.NONE)
        if engine != Isolation.NONE:
            _say(
                f"{self._name} is isolated as {self._wanted_name} is, and is given nothing that"
                f" your policy gives {self._wanted_name}, which is another server. Give it its own"
                " entry under `isolate`, or another --name.",
                "warning",
            )
        return engine

    def _entries(self, name: str = "") -> IsolateEntries:
        """The policy's grants for the server; a policy without `isolate` is not even parsed."""
        if not mentions(self._options.values.get("--policy"), "isolate"):
            return ()
        from pipeguard.config.effective_policy import wrap_isolation
        from pipeguard.config.isolate_key import find_entries

        tags = self._options.lists.get("--tag", ())
        return find_entries(name or self._name, wrap_isolation(self._options), tags)

    def _harden(self, profile: Profile) -> None:
        """Harden the command of a server that is a container already."""
        from pipeguard.isolation.docker_servers import harden
        from pipeguard.isolation.runtimes import starting_folder
        from pipeguard.isolation.sandbox import this_host

        command = self._command
        host = this_host()
        closed = harden(command.argv, starting_folder(command), profile, host, command.env)
        self._command = Command(closed.argv, command.env, command.cwd)
        if closed.added:
            _say(f"{self._name} is started with {' '.join(closed.added)}")
        if closed.is_open:
            _say(
                f"{self._name}: its command gives it a network, so PipeGuard does not judge its"
                " connections."
            )

    def _made_learner(self) -> Learner:
        """A starter that confines nothing, and learns.

        Raises:
            PipeGuardError: nothing can be learned here, or options would have no effect.
        """
        from pipeguard.isolation.learning.learner import Learner

        if useless := self._options.isolation():
            raise PolicyError(
                f"{min(useless)} would have no effect: while PipeGuard learns what the server"
                " needs, it refuses nothing. Leave it out."
            )
        if is_of_containers(self._command.argv):
            raise PolicyError(
                "PipeGuard cannot see inside a container, so it cannot learn what this server"
                " needs. --isolate auto closes what the command of the container leaves open."
            )
        return Learner(self._name, self._command, _say, outer_proxies(self._options))


def _note_made(sandbox: Sandbox, since: float, notice: Callable[[Finding], None]) -> None:
    """Record files that a server made and that the user's programs run later.

    Args:
        sandbox: of the server, which has ended.
        since: when it started, in seconds since 1970.
        notice: records a finding.
    """
    from pipeguard.isolation.run_later import find_made
    from pipeguard.isolation.walls.witness import describe_made

    view = sandbox.view
    given = [mount.path for mount in view.mounts if mount.is_changed]
    mounted = [mount.path for mount in view.mounts]
    for path in islice(find_made(given, mounted, view.home, since), MOST_MADE):
        notice(describe_made(path))


def _say(text: str, level: str = "info") -> None:
    from pipeguard.log import say  # here, because a server is waiting, and few are told anything

    say(text, level)


# --- isolated connections ---------------------------------------------------------------
# The connections of isolated servers on their way to the audit, from before the run is there.

MOST_WAITING = 1000  # connections, before the audit is open: a server is not that quick


class _IsolatedConnections:
    """Takes reports from any thread, and keeps them until a recorder is attached."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[EgressRecord] = []
        self._recorder: ConnectionRecorder | None = None

    def report(self, record: EgressRecord) -> None:
        """Take a connection that ended or was refused."""
        if record.at is None:
            record = record._replace(at=monotonic())
        with self._lock:
            if self._recorder:
                self._recorder(record)
            elif len(self._waiting) < MOST_WAITING:
                self._waiting.append(record)

    def attach(
        self, write: Callable[[EndedConnection], str], refused: Callable[[Wall], None]
    ) -> None:
        """Write pending and future reports to the audit, and announce refusals."""
        from pipeguard.isolation.egress.recording import ConnectionRecorder

        with self._lock:
            self._recorder = ConnectionRecorder(write, refused=refused)
            waiting = self._waiting
            self._waiting = []
            for record in waiting:
                self._recorder(record)

    def close(self) -> None:
        """Write the connections that were only counted so far; no more will come."""
        with self._lock:
            if self._recorder:
                self._recorder.close()
