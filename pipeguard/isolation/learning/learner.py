"""Starts a server without isolation, and records what it uses."""

import os
from collections.abc import Iterable
from functools import partial

from pipeguard.errors import LaunchError, StateError
from pipeguard.isolation import packages, profile, runtimes, sandbox, sensitive, server_view
from pipeguard.isolation.egress.outer_proxy import OuterProxies
from pipeguard.isolation.learning.observed import Observed, save
from pipeguard.isolation.learning.tracer import OPTIONS, Tracer, obstacle, strace_here
from pipeguard.isolation.view import ETC_FILES, ETC_FOLDERS, SCRATCH, SYSTEM, SandboxUser, Say
from pipeguard.launch.child import Child, Command, start
from pipeguard.launch.command import NOT_RUNNABLE, Confinement

KERNEL = ("/proc", "/sys", "/dev")
_SYSTEM_FILES = ("passwd", "group", "nsswitch.conf", "resolv.conf", "hosts")  # a sandbox's own


class Learner:
    """Runs one server without restrictions, and adds its use of resources to the observations.

    A package is fetched as for an isolated server, and runs from the same folder.

    Args:
        name: of the server.
        command: its command and environment.
        say: tells the user.
        proxies: those of the user's own network, for fetching its package.

    Raises:
        LaunchError: learning is impossible here, or the server's program does not exist.
    """

    def __init__(
        self,
        name: str,
        command: Command,
        say: Say,
        proxies: OuterProxies | None = None,
    ) -> None:
        if why := obstacle():
            raise LaunchError(
                f"what a server needs cannot be learned here: {why}. Name it yourself, with"
                " --isolate auto and --read, --write and --connect.",
                NOT_RUNNABLE,
            )
        self._name = name
        self._say = say
        host = sandbox.this_host()
        folder = runtimes.starting_folder(command)
        package = packages.find_package(command.argv)
        self._problem = ""
        self._package = package.key if package else ""
        install = partial(sandbox.installer, proxies=proxies)
        argv, runtime, self._in_use = sandbox.prepare_program(
            command, folder, host, start=install, say=say
        )
        words = runtimes.with_paths(argv, folder)
        given, files = server_view.given_among(
            words, runtime.needed, profile.Profile(), host, folder
        )
        system = _of_system(host, folder)
        program = (*runtime.needed, *files)
        self._had = (_add_targets((*system, *given, *program)), _add_targets((*system, *given)))
        self._command = Command((runtime.path, *argv[1:]), command.env, command.cwd)

    def start(self) -> Child:
        """Start the server; return at once.

        Raises:
            PipeGuardError: a secret is missing, or the system has no descriptors or processes left.
        """
        command = self._command
        argv, variables = sandbox.add_secrets(command.argv, command.env)
        source, sink = os.pipe()
        words = (strace_here(), *OPTIONS, f"/proc/self/fd/{sink}", "--", *argv)
        confinement = Confinement(words, (sink,), lambda: None, is_engine=False)
        try:
            child = start(Command(command.argv, variables, command.cwd, confinement))
        except BaseException:
            os.close(source)
            raise
        finally:
            os.close(sink)
        tracer = Tracer(source, runtimes.starting_folder(command), self._had, self._save)
        tracer.start()
        child.on_close = lambda: self._finish(tracer)
        return child

    def _finish(self, tracer: Tracer) -> None:
        tracer.close()
        name = self._name
        learned = f"learned what {name} uses. See it: pipeguard isolate show {name}"
        self._say(self._problem or learned)

    def _save(self, observed: Observed) -> None:
        observed.package = self._package
        self._problem = ""
        try:
            save(self._name, observed)
        except StateError as error:
            self._problem = f"what {self._name} uses is not stored: {error}"


def _of_system(host: SandboxUser, folder: str) -> tuple[str, ...]:
    """The grants of every isolated server."""
    etc = (f"/etc/{name}" for name in (*ETC_FILES, *ETC_FOLDERS, *_SYSTEM_FILES))
    scratch = (
        each
        for each in SCRATCH
        if not sensitive.is_inside(host.home, each) and not sensitive.is_inside(folder, each)
    )
    return (*SYSTEM, *KERNEL, *scratch, *etc)


def _add_targets(paths: Iterable[str]) -> tuple[str, ...]:
    """The paths, and their link targets."""
    return tuple(dict.fromkeys(each for path in paths for each in (path, os.path.realpath(path))))
