"""Starts a guarded run: a stdio server, or whatever other transport the options name.

A stdio server is started first of all, and everything else is loaded while it boots. Nothing here
judges.
"""

from __future__ import annotations

import gc
import os

from pipeguard.auth import resolve_arguments
from pipeguard.config.enrolment import may_stop_servers
from pipeguard.config.user_policy import mentions
from pipeguard.errors import PipeGuardError, PolicyError
from pipeguard.launch.child import GUARD_NAME, Command, start
from pipeguard.records import NamedTuple
from pipeguard.runtime.numbers import read_variables

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, whose module takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeguard.config.options import WrapOptions
    from pipeguard.isolation import ServerStarter
    from pipeguard.launch.child import Child
    from pipeguard.runtime.stdio import GuardedServer

STDIN, STDOUT, STDERR = range(3)
_OF_THE_STATE = ("PIPEGUARD_STATE_DIR", "XDG_STATE_HOME", "HOME")


def run(options: WrapOptions) -> int:
    """Guard one server until either side is gone.

    Returns:
        The server's exit code; 128 and the number if a signal ended it.

    Raises:
        PipeGuardError: it could not be guarded; the client's requests are answered with that.
    """
    listens = "--listen" in options.values
    mark_guard(listens=listens)
    wrong = options.find_misplaced()
    if listens:
        if wrong is not None:
            raise PolicyError(wrong)
        from pipeguard.runtime.http import serve

        return serve(options)
    _say_who_is_awaited()
    client_fd = keep_stdout_for_frames()
    try:
        if wrong is not None:
            raise PolicyError(wrong)
        if "--upstream" in options.values:
            from pipeguard.runtime.connect import guard_remote

            guarded = guard_remote(options, client_fd)
        else:
            guarded = _guard_local(options, client_fd)
    except PipeGuardError as error:
        from pipeguard.runtime.declining import decline

        decline(error, client_fd)
        raise
    return guarded.run()


def _guard_local(options: WrapOptions, client_fd: int) -> GuardedServer:
    """Start a server, and load its guard while it boots."""
    if may_stop_servers(options.values.get("--policy")):
        _require_allowed(options)
    variables, missing = read_variables(options)
    starter, child = _start(options, variables)
    try:
        # From here on the server boots, and we load.
        # What collecting garbage would take while we load, 5 to 10 ms, is better spent after the
        # first answer (runtime.stdio).
        gc.disable()
        gc.set_threshold(10_000)  # as runtime.loop
        from pipeguard.allocator import return_large_blocks

        return_large_blocks(arenas=1)  # two threads judge, by turns
        from pipeguard.identity.server_name import identify_server
        from pipeguard.log import say
        from pipeguard.runtime.stdio import GuardedServer
        from pipeguard.runtime.target_server import LocalServer
        from pipeguard.transports.stdio import LineChannel

        child.wait_started()
        guarded = GuardedServer(
            LocalServer(child, starter),
            identify_server(options.command, options.values.get("--cwd")),
            options,
            lambda limit: LineChannel(0, client_fd, limit),
        )
    except PipeGuardError:
        child.close()
        raise
    for name in missing:
        say(f"--env {name}: this variable is not set.")
    return guarded


def _require_allowed(options: WrapOptions) -> None:
    """Read the policy first; raises PolicyError if it is invalid, or stops the server."""
    from pipeguard.identity.server_name import identify_server
    from pipeguard.rulebook.policy_rules import load_wrap_policy
    from pipeguard.runtime.run import list_things, require_allowed

    launched = identify_server(options.command, options.values.get("--cwd"))
    require_allowed(load_wrap_policy(options), list_things(launched, options))


def mark_guard(*, listens: bool) -> None:
    """Name this process, so that its own or its client's children decide nothing (launch.agents).

    Unlike a file, the name cannot be removed by another process, ends with this one, and does not
    depend on the state folder that either of them uses. Only Linux lets a process name itself.

    Args:
        listens: True if clients connect, so that the holder of our standard input is not one.
    """
    if listens:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, STDIN)
        os.close(null)
    try:
        with open("/proc/self/comm", "w", encoding="ascii") as name:
            name.write(GUARD_NAME)
    except OSError:  # another system, or /proc is read-only
        return


class RunningGuard(NamedTuple):
    """A process that guards servers.

    Attributes:
        process: its number.
        verb: `wrap` or `serve`.
        address: its address as given on the command line; empty over stdio.
        words: of its command line.
    """

    process: str
    verb: str
    address: str
    words: tuple[str, ...]


def running_guards() -> Iterator[RunningGuard]:
    """The running guards with the same state folder; empty except on Linux."""
    if not os.path.isdir("/proc"):
        return
    for process in os.listdir("/proc"):
        try:
            if not process.isdecimal() or _read_parts(process, "comm") != [f"{GUARD_NAME}\n"]:
                continue
            variables, command = _read_parts(process, "environ"), _read_parts(process, "cmdline")
        except OSError:  # it has ended, or is another user's
            continue
        theirs = dict(variable.split("=", 1) for variable in variables if "=" in variable)
        is_ours = all(theirs.get(key) == os.environ.get(key) for key in _OF_THE_STATE)
        words = [part for word in command for part in word.split("=", 1)]
        verb = next((word for word in words if word in ("serve", "wrap")), "")
        if verb and is_ours:
            address = words[words.index("--listen") + 1] if "--listen" in words else ""
            yield RunningGuard(process, verb, address, tuple(command[:-1]))


def _read_parts(process: str, name: str) -> list[str]:
    """The parts of a file of a process (proc(5))."""
    with open(f"/proc/{process}/{name}", encoding="utf-8", errors="surrogateescape") as file:
        return file.read().split("\0")


def _say_who_is_awaited() -> None:
    """Warn a person at a terminal that a client is missing: they would wait forever."""
    if not os.isatty(STDIN):
        return
    from pipeguard.log import say

    say(
        "waiting for an MCP client on standard input; press Ctrl-C to quit. A client starts"
        " this command itself once it is in the client's configuration. To guard the servers of"
        " all clients: pipeguard setup"
    )


def keep_stdout_for_frames() -> int:
    """A descriptor for frames to the client; other output is redirected to stderr."""
    client_fd = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    return client_fd


def _start(
    options: WrapOptions, variables: Mapping[str, str]
) -> tuple[ServerStarter | None, Child]:
    """Start the server, isolated if requested; an isolated one comes with its starter.

    Raises:
        PipeGuardError: it cannot be started, or isolated.
    """
    is_isolated = options.values.get("--isolate", "none") != "none" or options.isolation()
    if not is_isolated and not mentions(options.values.get("--policy"), "isolate"):
        command = resolve_arguments(options.command)
        return None, start(Command(command, variables, options.values.get("--cwd")))
    from pipeguard.isolation import ServerStarter

    starter = ServerStarter(options, variables)
    return starter, starter.start()
