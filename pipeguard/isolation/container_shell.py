"""What runs inside a container before the server: a shell that hears the rest by its input.

A container's command and variables stay readable for as long as it exists, by `inspect` and in its
store. So the container's own command is the same for all servers, and the server's words and
variables come through the pipe that its messages come through later. The shell stays as the first
process of the container: it takes in orphans, and its end ends the others.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.isolation.egress.sockets import DNS_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NOT_STARTED = 126
STEPS, STEP_SECONDS = 500, 0.02  # for PipeGuard's sockets to be there
_READER = """IFS= read -r end || exit 126
text=
while IFS= read -r line && [ "$line" != "$end" ]; do
text="$text$line
"
done
eval "$text"
"""
COMMAND = ("/usr/bin/env", "-i", "/bin/sh", "-c", _READER)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OF_SHELL = {"PPID", "UID", "EUID", "BASHOPTS", "SHELLOPTS"}  # that a shell lets nobody set


class Instructions(NamedTuple):
    """What the shell is to do.

    Attributes:
        argv: the server's command.
        variables: its environment.
        folder: that it starts in.
        links: path and target of links that it makes first.
        waits: whether it waits for PipeGuard's sockets.
        rules: where Landlock's program is and its rules are; empty where there are none.
    """

    argv: tuple[str, ...]
    variables: Mapping[str, str]
    folder: str
    links: Sequence[tuple[str, str]]
    waits: bool
    rules: tuple[str, ...] = ()


def preamble(instructions: Instructions) -> bytes:
    """What is written to the container's input before anything else."""
    end = secrets.token_hex(16)
    lines = [end, *_lines(instructions), end, ""]
    return b"\n".join(os.fsencode(line) for line in lines)


def unsettable(variables: Mapping[str, str]) -> list[str]:
    """Names of variables that no shell can set."""
    return [name for name in variables if not _NAME.fullmatch(name) or name in _OF_SHELL]


def _lines(instructions: Instructions) -> Iterator[str]:
    yield "unset text line end PWD OLDPWD SHLVL"
    yield "PATH=/usr/bin:/bin"
    if instructions.waits:
        yield from _waiting()
    for path, target in instructions.links:
        yield f"mkdir -p -- {_quoted(os.path.dirname(path))}"  # noqa: PTH120  text
        yield f"ln -s -- {_quoted(target)} {_quoted(path)}"
    yield f"mkdir -p -- {_quoted(instructions.folder)}"  # in its own home or /tmp
    yield f"cd -- {_quoted(instructions.folder)} || exit {NOT_STARTED}"
    yield "unset PATH PWD OLDPWD n"
    left_out = unsettable(instructions.variables)
    for name, value in instructions.variables.items():
        if name not in left_out:
            yield f"export {name}={_quoted(value)}"
    command = " ".join(_quoted(word) for word in instructions.argv)
    if instructions.rules:
        # Opened for it by their numbers, which it closes (isolation/_landlock.c). The shell itself
        # has no rules: a server cannot reach what is outside its own.
        program, rules = map(_quoted, instructions.rules)
        command = f"{program} 3 4 {command} 3<{rules} 4</dev/null"
    yield command
    yield "exit $?"


def _waiting() -> Iterator[str]:
    """Until the last of PipeGuard's sockets listens (proc(5), /proc/net/tcp)."""
    address, port = DNS_ADDRESS
    number = struct.unpack("=I", socket.inet_aton(address))[0]
    listening = f"{number:08X}:{port:04X} 00000000:0000 0A"
    yield "n=0"
    yield f'until case "$(cat /proc/net/tcp)" in *"{listening}"*) true;; *) false;; esac; do'
    yield f'n=$((n+1)); if [ "$n" -gt {STEPS} ]; then'
    yield f"echo 'pipeguard: no network was made for this container' >&2; exit {NOT_STARTED}"
    yield f"fi; sleep {STEP_SECONDS}; done"


def _quoted(text: str) -> str:
    """A word of a shell (POSIX, XCU 2.2.2)."""
    return "'" + text.replace("'", "'\\''") + "'"
