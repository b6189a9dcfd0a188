"""The installation's key, with which fingerprints of what was found are made.

It stands beside the store and is written once, for the owner alone. Policies and exported audits
hold fingerprints and never the key.
"""

from __future__ import annotations

import os
from contextlib import suppress

from pipeguard.errors import StateError
from pipeguard.state.paths import believe

KEY_NAME = "contents.key"
KEY_BYTES = 32


def contents_key(store: str) -> bytes:
    """The key beside a store, made where there is none.

    Raises:
        StateError: it cannot be read or written, another user could have written it, or it is not
            a key.
    """
    path = os.path.join(os.path.dirname(store), KEY_NAME)  # noqa: PTH118, PTH120  pathlib costs 5 ms
    try:
        with suppress(FileNotFoundError):
            return _read(path)
        _write(path)
        return _read(path)  # that of whoever was first
    except OSError as error:
        raise StateError(f"the key {path} cannot be used: {error.strerror}.") from None


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        believe(path, os.fstat(file.fileno()))
        key = file.read(KEY_BYTES + 1)
    if len(key) != KEY_BYTES:
        raise StateError(
            f"{path} is not a key: it has not {KEY_BYTES} bytes.\n"
            "  Remove it, and PipeGuard makes a new one; exceptions that are for one content alone"
            " have no effect then."
        )
    return key


def _write(path: str) -> None:
    """Write a key whole, unless another process was faster."""
    draft = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, os.urandom(KEY_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)  # noqa: PTH108  the same
