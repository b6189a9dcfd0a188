"""The address of the page while `pipeguard ui` runs, and of the cards on it.

The page holds a lock on the file as long as it runs, so that a file that a dead process left is not
believed. The file holds no secret: a browser without the page's cookie sees nothing there.
"""

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeguard.config.atomic_write import lock_file, open_file
from pipeguard.errors import StateError
from pipeguard.state.paths import state_folder_text

FILE_NAME = "page-address"
_ADDRESS = re.compile(rb"https?://127\.0\.0\.1:[1-9][0-9]{0,4}(?:/ui)?")
_MOST_BYTES = 64
_TRIES = 5  # a guard that looks holds the lock for a moment
_PAUSE_SECONDS = 0.02


@contextmanager
def publish_address(address: str) -> Iterator[None]:
    """Publish this page's address to guards until it ends; of two pages, the first wins."""
    if sys.platform == "win32":  # where no guard looks for it
        yield
        return
    path = os.path.join(state_folder_text(), FILE_NAME)
    descriptor = open_file(path)
    try:
        if not _lock(descriptor):
            yield
            return
        os.ftruncate(descriptor, 0)
        os.write(descriptor, address.encode())
        try:
            yield
        finally:
            with suppress(OSError):
                os.unlink(path)
    finally:
        os.close(descriptor)


def page_address() -> str:
    """The address of the page, as `http://127.0.0.1:7419`; empty unless it runs."""
    if sys.platform == "win32":
        return ""
    from fcntl import LOCK_NB, LOCK_SH, flock

    descriptor = -1
    try:
        path = os.path.join(state_folder_text(), FILE_NAME)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        flock(descriptor, LOCK_SH | LOCK_NB)
    except BlockingIOError:  # the page runs
        found = _ADDRESS.fullmatch(os.read(descriptor, _MOST_BYTES))
        return found[0].decode() if found else ""
    except (OSError, StateError):
        return ""
    else:
        return ""
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock the file for as long as it is open; False if another page has locked it."""
    for _ in range(_TRIES):
        try:
            lock_file(descriptor, waits=False)
        except BlockingIOError:
            time.sleep(_PAUSE_SECONDS)
        else:
            return True
    return False


def new_card(server: str) -> str:
    """The card of a server's unapproved definitions, as the end of the page's address."""
    return f"new-{_digest(server)}"


def definition_card(server: str, kind: str, name: str) -> str:
    """The card of a changed definition, as the end of the page's address."""
    return f"def-{_digest(server, kind, name)}"


def _digest(*names: str) -> str:
    from hashlib import sha256

    return sha256("\0".join(names).encode()).hexdigest()[:12]
