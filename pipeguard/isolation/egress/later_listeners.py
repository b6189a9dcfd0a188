"""Listening sockets in the network of a sandbox that is running, for ports that it was given later.

Only a process with one thread may enter a user namespace (setns(2)), so an interpreter is started
for it. It imports nothing of PipeGuard's and reads no setting of the user's.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SCRIPT = Path(__file__).with_name("open_listeners.py")
SECONDS = 10.0
MAX_AT_ONCE = 200  # `HostRules` has no more ports


def open_later(namespace: tuple[int, ...], ports: Iterable[int]) -> tuple[socket.socket, ...]:
    """Listen at more ports of a sandbox, on all its addresses; those that are taken are left out.

    Args:
        namespace: `EgressSockets.namespace`.
        ports: which.

    Raises:
        OSError: the namespace cannot be entered.
    """
    wanted = sorted(ports)[:MAX_AT_ONCE]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        words = [*map(str, (*namespace, theirs.fileno(), *wanted))]
        done = subprocess.run(
            [sys.executable or "python3", "-I", "-S", str(SCRIPT), *words],
            env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[*namespace, theirs.fileno()],
            timeout=SECONDS,
            check=False,
        )
        theirs.close()
        _, descriptors, _, _ = socket.recv_fds(ours, 1, MAX_AT_ONCE)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)  # noqa: FBT003  a positional parameter
    if done.returncode:
        raise OSError("the sandbox's network cannot be entered")
    return tuple(socket.socket(fileno=descriptor) for descriptor in descriptors)
