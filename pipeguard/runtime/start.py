"""Starts a guarded run: a stdio server, or whatever other transport the options name.

A stdio server is started first of all, and everything else is loaded while it boots. Nothing here
judges.
"""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

from pipeguard.config.user_policy import mentions
from pipeguard.errors import LaunchError, PipeGuardError, PolicyError
from pipeguard.launch.child import Command, start
from pipeguard.launch.environment import child_environment, parent_environment, refers
from pipeguard.records import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeguard.config.options import WrapOptions
    from pipeguard.isolation import ServerStarter
    from pipeguard.launch.child import Child
    from pipeguard.launch.environment import Environment

STDIN, STDOUT, STDERR = range(3)
GUARD_NAME = "pipeguard-guard"  # of a process that guards servers; at most 15 bytes
_OF_THE_STATE = ("PIPEGUARD_STATE_DIR", "XDG_STATE_HOME", "HOME")


def run(options: WrapOptions) -> int:
    """Guard one server until either side is gone.

    Returns:
        The server's exit code; 128 and the number where a signal ended it.

    Raises:
        PipeGuardError: it could not be guarded; the client's requests are answered with that.
    """
    mark_guard(listens="--listen" in options.values)
    wrong = options.find_misplaced()
    if wrong is not None:
        raise _make_refusal(PolicyError(wrong), options)
    if "--listen" in options.values:
        from pipeguard.runtime.http import serve

        return serve(options)
    _say_who_is_awaited()
    if "--upstream" in options.values:
        from pipeguard.runtime import stdio_to_http

        return stdio_to_http.run(options, keep_stdout_for_frames())
    environment = _environment(options)
    variables = environment.variables
    variables = _with_secrets(variables, options) if refers(variables) else variables
    starter, child = _start(options, variables)
    # From here on the server boots, and we load.
    client_fd = keep_stdout_for_frames()
    _tune_memory()
    from pipeguard.identity.server_name import identify_server
    from pipeguard.log import say
    from pipeguard.runtime.stdio import GuardedServer, LocalServer
    from pipeguard.transports.stdio import LineChannel

    try:
        child.wait_started()
        who = identify_server(options.command, options.values.get("--cwd"))
        guarded = GuardedServer(
            LocalServer(child, starter),
            who,
            options,
            lambda limit: LineChannel(0, client_fd, limit),
        )
    except PipeGuardError as error:
        _decline(child, error, client_fd)
        raise
    for missing in environment.missing:
        say(f"--env {missing}: this variable is not set.")
    return guarded.run()


def mark_guard(*, listens: bool) -> None:
    """Name this process, so that what runs below it or its client decides nothing (cli._person).

    Unlike a file, the name cannot be removed by another process, ends with this one, and does not
    depend on the state folder that either of them uses. Only Linux lets a process name itself.

    Args:
        listens: True if clients connect, so that whoever holds our standard input is not one.
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
        address: where it listens, as it was told; empty over stdio.
        words: of its command line.
    """

    process: str
    verb: str
    address: str
    words: tuple[str, ...]


def running_guards() -> Iterator[RunningGuard]:
    """The guards that run now with the same state folder; only Linux tells."""
    for process in os.listdir("/proc") if os.path.isdir("/proc") else ():
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
    """Tell a person who typed this what is missing: nothing would ever appear."""
    if not os.isatty(STDIN):
        return
    from pipeguard.log import say

    say(
        "waiting for an MCP client on standard input; press Ctrl-C to quit. A client starts"
        " this command itself once it is in the client's configuration. To guard the servers of"
        " all clients: pipeguard setup"
    )


def _environment(options: WrapOptions) -> Environment:
    """The variables of the server."""
    inherits = "--inherit-env" in options.flags
    return child_environment(
        os.environ,
        None if inherits else parent_environment(),
        extra=options.lists.get("--env", ()),
        inherit_all=inherits,
    )


def _tune_memory() -> None:
    from pipeguard.allocator import return_large_blocks

    # What collecting garbage would take while we load, 5 to 10 ms, is better spent after the first
    # answer (runtime.stdio).
    gc.disable()
    gc.set_threshold(10_000)  # as runtime.loop
    return_large_blocks(arenas=1)  # two threads judge, by turns


def keep_stdout_for_frames() -> int:
    """A descriptor for frames to the client; whatever else is printed goes to stderr."""
    client_fd = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    return client_fd


def may_be_isolated(options: WrapOptions) -> bool:
    """True if an option or the policy says something about isolation."""
    if options.values.get("--isolate", "none") != "none" or options.isolation():
        return True
    return mentions(options.values.get("--policy"), "isolate")


def _start(options: WrapOptions, variables: dict[str, str]) -> tuple[ServerStarter | None, Child]:
    """Start the server, isolated if that is asked for; what started it then is there too.

    Raises:
        PipeGuardError: it cannot be isolated; the client's first requests are answered with that.
    """
    if not may_be_isolated(options):
        return None, start(Command(options.command, variables, options.values.get("--cwd")))
    from pipeguard.isolation import ServerStarter

    try:
        starter = ServerStarter(options, variables)
        return starter, starter.start()
    except PipeGuardError as error:
        raise _make_refusal(error, options) from None


def _with_secrets(variables: dict[str, str], options: WrapOptions) -> dict[str, str]:
    """Resolve references to the keyring, before the server starts.

    Raises:
        PipeGuardError: a secret does not exist; the client's first requests are answered with that.
    """
    from pipeguard.auth.secrets import all_resolved

    try:
        return all_resolved(variables)
    except PipeGuardError as error:
        raise _make_refusal(error, options) from None


def _make_refusal(error: PipeGuardError, options: WrapOptions) -> PipeGuardError:
    """The error that ends us, once a client over stdio got it in place of its answers."""
    if "--listen" not in options.values:
        from pipeguard.runtime.declining import decline

        decline(error, keep_stdout_for_frames())
    return error


def _decline(child: Child, error: PipeGuardError, client_fd: int) -> None:
    from threading import Thread

    from pipeguard.runtime.declining import decline

    if isinstance(error, LaunchError):
        decline(error, client_fd)
        child.close()
        return
    ender = Thread(target=child.end, args=(0.0,))
    ender.start()
    decline(error, client_fd)
    ender.join()
    child.close()
