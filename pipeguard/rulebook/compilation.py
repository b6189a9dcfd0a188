"""Compiles rules in one process at a time, while the others wait for it.

The compiling process inherits the lock and outlives the process that started it. So when a client
gives up on a server that takes long to start, the next start finds the rules compiled or nearly so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING

from pipeguard import _isolate
from pipeguard.rulebook.compiled_file import (
    CompiledRules,
    file_name,
    make_folder,
    open_compiled,
    put,
)
from pipeguard.rulebook.compiler import compile_rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeguard.rulebook.packs import PackFile

POLL_SECONDS = 0.05
STUCK_SECONDS = 300.0  # of waiting for another process; all rules take 20 s of a core


def compile_packs(packs: Sequence[PackFile], folder: str, key: bytes) -> CompiledRules:
    """Wait for the rules to be compiled by another process, or by one of ours.

    They are compiled here, only for this process, if the folder cannot be written.

    Args:
        packs: of the rules.
        folder: of the cache.
        key: of the compiled rules.

    Raises:
        RuleError: a pack is wrong.
        EngineError: Hyperscan is missing, or rejects a pattern.
    """
    content = b""
    with suppress(OSError):
        make_folder(folder)
        with _hold_lock(folder) as lock:
            with suppress(OSError):
                return open_compiled(folder, key)
            _start(packs, folder, key, lock)
        with _hold_lock(folder):
            with suppress(OSError):
                return open_compiled(folder, key)
            content = compile_rules(packs, folder, key)  # it failed: here, the error is raised
            put(folder, file_name(key), content)
    content = content or compile_rules(packs, folder, key)
    return CompiledRules(lambda offset, size: content[offset : offset + size])


def _start(packs: Sequence[PackFile], folder: str, key: bytes, lock: int | None) -> None:
    """Start the compiler with a copy of the lock; without one, wait for it."""
    text = [(pack.path, pack.content.decode("latin-1"), pack.shipped) for pack in packs]
    # If no process can be started, the lock is free at once, and the caller compiles.
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            [*_isolate.command("pipeguard.rulebook.compiler_process"), folder, key.hex()],
            input=json.dumps(text).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=os.sep,
            pass_fds=() if lock is None else (lock,),
            start_new_session=True,
            timeout=STUCK_SECONDS,
            check=False,
        )


@contextmanager
def _hold_lock(folder: str) -> Iterator[int | None]:
    """Hold the lock on a folder until the descriptor and its copies are closed.

    Windows and some network file systems have no such lock: there, each process compiles.

    Raises:
        OSError: the folder cannot be opened, or another process holds the lock for too long.
    """
    if sys.platform == "win32":
        yield None
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _acquire(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def _acquire(descriptor: int) -> None:
    import fcntl

    until = monotonic() + STUCK_SECONDS
    while monotonic() < until:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sleep(POLL_SECONDS)
        except OSError:
            return
        else:
            return
    raise TimeoutError
