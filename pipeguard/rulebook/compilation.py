"""Compile rules in one process at a time, for which the caller waits.

The process that compiles inherits the lock and outlives the one that started it. So when a client
gives up on a server that takes long to start, the next start finds the rules compiled or nearly so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from time import sleep, time
from typing import TYPE_CHECKING

from pipeguard import _isolate
from pipeguard.errors import EngineError
from pipeguard.log import say
from pipeguard.rulebook.cache_files import (
    LOCK_NAME,
    CachedRules,
    CacheFile,
    make_folder,
    open_index,
)
from pipeguard.rulebook.compiler import compile_rules, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeguard.rulebook.packs import PackFile

POLL_SECONDS = 0.05
STUCK_SECONDS = 120.0  # without another database; the longest takes 5 s of a core


def compile_packs(
    packs: Sequence[PackFile],
    folder: str,
    key: bytes,
    is_enough: Callable[[CachedRules], bool],
    reader: int = 0,
) -> CachedRules:
    """Wait for the rules to be compiled by another process, or by one of ours.

    Args:
        packs: of the rules.
        folder: of the cache.
        key: of the compiled rules.
        is_enough: true of compiled rules that need not be waited for, although more will follow.
            It is asked again and again about those that there are by now.
        reader: the id of the only process that reads the folder; 0 for a cache.

    Raises:
        RuleError: a pack is wrong.
        EngineError: Hyperscan is missing, or rejects a pattern.
        OSError: the folder cannot be written, or somebody else could write to it.
    """
    make_folder(folder)
    has_started = False
    while True:
        lock = _lock(folder)
        try:
            opened = _open(folder, key)
            if opened and (opened.is_complete or (lock is None and is_enough(opened))):
                return opened
            if lock is not None and has_started:  # it failed: here, the same error can be raised
                compile_rules(packs, folder, key)
                return open_index(folder, key)
            if lock is not None:
                _start(packs, folder, (key.hex(), str(reader)), lock)
                has_started = True
        finally:
            if lock is not None:
                os.close(lock)
        sleep(POLL_SECONDS)


def _open(folder: str, key: bytes) -> CachedRules | None:
    """The rules compiled by now; None before there is an index."""
    with suppress(OSError):
        return open_index(folder, key)
    return None


def compiled_privately(packs: Sequence[PackFile], key: bytes) -> CachedRules:
    """Rules compiled for this process alone: the folder is removed, its open files stay readable.

    Raises:
        RuleError: a pack is wrong.
        EngineError: Hyperscan is missing or rejects a pattern, or no folder can be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="pipeguard-", ignore_cleanup_errors=True) as folder:
            return compile_packs(packs, folder, key, lambda _: False, os.getpid())
    except OSError as error:
        raise EngineError(
            "compiled rules can be written neither to the cache nor to a temporary folder:"
            f" {error.strerror or error}.\n  Make room, or name a folder in TMPDIR."
        ) from None


def _start(packs: Sequence[PackFile], folder: str, arguments: Sequence[str], lock: int) -> None:
    """Start the compiler with a copy of the lock; on Windows, wait for it.

    Raises:
        OSError: the folder cannot be written.
    """
    with tempfile.TemporaryFile(dir=folder) as text:  # a pipe could keep us waiting
        text.write(encode(packs))
        text.seek(0)
        # Where no process can be started, the lock is free at once, and the caller compiles.
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                [*_isolate.command("pipeguard.rulebook.compiler_process"), folder, *arguments],
                stdin=text,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=os.sep,
                pass_fds=() if os.name == "nt" else (lock,),
                start_new_session=True,
                timeout=None if os.name == "nt" else STUCK_SECONDS,
                check=False,
            )


def _lock(folder: str) -> int | None:
    """A descriptor that holds the lock until it and its copies are closed; None if another does.

    The lock is taken away from a holder that has made no progress for long, such as a stopped one.
    Where there are no locks, as on Windows and some network file systems, each compiles for itself.

    Raises:
        OSError: the folder cannot be written.
    """
    path = os.path.join(folder, LOCK_NAME)
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError:  # a link, or root's since it ran here: our folder need not keep it
        os.unlink(path)
        descriptor = os.open(path, flags, 0o600)
    if sys.platform == "win32":
        return descriptor
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = CacheFile(path, descriptor)
        idle = time() - os.fstat(descriptor).st_mtime
        if idle > STUCK_SECONDS:
            say(f"the compiler of the rules has been stuck for {idle:.0f} s: starting another")
            holder.remove()
        return None
    except OSError:
        return descriptor
    with suppress(OSError):
        os.utime(path)
    return descriptor
