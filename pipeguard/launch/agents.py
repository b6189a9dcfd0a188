"""Recognizes an agent, which may not decide: by its shell's variables, or a guard above it.

An agent has a shell of the same account, so this is a hurdle, not a wall: SECURITY.md says how high
it is. A process is refused in a shell that an agent marks as its own, below a guard (`wrap` or
`serve`), and below a guard's client.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path

from pipeguard.errors import PipeGuardError
from pipeguard.launch.child import GUARD_NAME
from pipeguard.launch.environment import read_status, read_variables
from pipeguard.launch.feeders import (
    find_other_end,
    find_process,
    find_stdin,
    list_ancestors,
    list_links,
)

# Variables that agents set in the shells in which they run commands.
AGENT_VARIABLES = (
    "AI_AGENT",
    "ANTIGRAVITY_AGENT",
    "AUGMENT_AGENT",
    "CLAUDECODE",
    "CLINE_ACTIVE",
    "CODEX_CI",
    "CODEX_SANDBOX",
    "CODEX_THREAD_ID",
    "COPILOT_CLI",
    "CURSOR_AGENT",
    "GEMINI_CLI",
    "GOOSE_TERMINAL",
    "OPENCODE",
    "OPENCODE_CLIENT",
    "QWEN_CODE",
)
_FORWARDERS = {"sshd", "sshd-session"}  # their connections are those of `ssh -L`
_LISTENS = "0A"  # a state in /proc/net/tcp (linux/net/tcp_states.h)
_OWN_TERMINAL = "Only a person may decide this: run it in a terminal of your own."
NO_TERMINAL = f"there is no terminal to ask on.\n  {_OWN_TERMINAL}"


class NotAPersonError(PipeGuardError):
    """An agent, or a program without a token, tries to decide; the message has advice."""

    exit_code = 2


def refuse_agent(process: int | None = None) -> None:
    """Refuse a shell that an agent marks as its own, and any process below an agent or a guard.

    Args:
        process: another process of this user; this one by default.

    Raises:
        NotAPersonError: an agent, or a process that we may not inspect.
    """
    variables = os.environ if process is None else read_variables(process)
    if variables is None:
        raise NotAPersonError(NO_TERMINAL)
    if mark := next(filter(variables.get, AGENT_VARIABLES), ""):
        raise NotAPersonError(f"this shell is an agent's: {mark} is set.\n  {_OWN_TERMINAL}")
    if parent := _client_above(os.getpid() if process is None else process):
        raise NotAPersonError(
            f"this runs below {parent}, which guards servers or is their client, so an agent may"
            f" have started it.\n  {_OWN_TERMINAL}"
        )


def _client_above(process: int) -> str:
    """Return the name of a process's ancestor that is a guard or a guard's client; else empty.

    A client has the other end of the guard's standard input, or of a connection to its address.
    Linux only, where /proc tells parents and open descriptors without another program.
    """
    if sys.platform != "linux":
        return ""
    above = dict(list_ancestors(process))
    descriptors = {process: list_links(process) for process in above}
    numbers = (int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit())
    processes = {number: find_process(number) for number in numbers}
    for guard in (number for number, (name, _) in processes.items() if name == GUARD_NAME):
        clients = {guard} & above.keys() or _clients(guard, descriptors, processes)
        if clients and find_process(guard)[0] == GUARD_NAME:  # it has not ended as we looked
            return above[clients.pop()]
    return ""


def _clients(
    guard: int, descriptors: dict[int, set[str]], processes: dict[int, tuple[str, int]]
) -> set[int]:
    """Find the clients of a guard, also behind filters, as in `tee log | pipeguard serve`.

    Args:
        guard: its process.
        descriptors: the targets of the descriptors of possible clients.
        processes: all processes, each with its name and its parent.
    """
    readers = [guard]
    clients = set[int]()
    seen = set[int]()
    while readers and not clients:
        reader = readers.pop()
        clients = _writers(reader, descriptors)
        # A feeder of a program that started the reader is no client: an editor feeds the program
        # that starts its servers, and starts the person's shells as well.
        seen |= {reader, *(above for above, _ in list_ancestors(reader))}
        if end := find_other_end(reader):
            own = {find_stdin(reader), ""}
            readers += [
                process
                for process, (_, parent) in processes.items()
                if parent in seen and process not in seen
                if end in list_links(process) and find_stdin(process) not in own
            ]
    return clients


def _writers(reader: int, descriptors: dict[int, set[str]]) -> set[int]:
    """Find the processes that write to a guard, or to a program that feeds one."""
    stdin = find_stdin(reader)
    end = find_other_end(reader)
    connections = _connections(reader)
    clients = {
        process
        for process, links in descriptors.items()
        if (end and end in links)
        or (connections & links and find_process(process)[0] not in _FORWARDERS)
    }
    # Some processes hide their descriptors. Then the client is who started the reader: the first
    # above it that has another standard input.
    starter = next((above for above, _ in list_ancestors(reader) if find_stdin(above) != stdin), 0)
    is_hidden = end is None or (end and not descriptors.get(starter))
    if starter in descriptors and is_hidden:
        clients.add(starter)
    return clients


def _connections(guard: int) -> set[str]:
    """Find the clients' ends of the connections to a guard's address."""
    rows: list[list[str]] = []
    for name in ("tcp", "tcp6"):
        with suppress(OSError):  # no IPv6 here
            lines = Path("/proc/net", name).read_text().splitlines()
            rows += (line.split() for line in lines[1:])
    own = list_links(guard)
    ours = [row for row in rows if _socket(row) in own]
    ports = {row[1][-4:] for row in ours if row[3] == _LISTENS}
    # An IPv4 address ends an IPv6 one that stands for it: eight digits, a colon, and the port's.
    pairs = {(row[2][-13:], row[1][-13:]) for row in ours if row[1][-4:] in ports}
    return {_socket(row) for row in rows if (row[1][-13:], row[2][-13:]) in pairs}


def _socket(row: list[str]) -> str:
    """The link of a descriptor of a socket in /proc/net/tcp."""
    return f"socket:[{row[9]}]"


def find_terminal(process: int) -> int:
    """Return the device of the terminal that controls a process; 0 for none."""
    return int(read_status(process)[1][4])
