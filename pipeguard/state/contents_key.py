"""The installation's key, which makes the fingerprints of texts with findings.

It is next to the store and is written once, for the owner only. Policies and exported audits hold
fingerprints and never the key.
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from time import sleep

from pipeguard.errors import StateError
from pipeguard.state.paths import STORE_NAME, believe
from pipeguard.state.replica import REPLICA
from pipeguard.state.shared import shared_address, shared_keys

KEY_NAME = "contents.key"
KEY_BYTES = 32
_TRIES = 50  # to read a key that another process makes, if files cannot have a second name
_PAUSE_SECONDS = 0.02


def contents_key(store: str) -> bytes:
    """The key next to a store, or in the one that replicas share; made if it does not exist.

    Raises:
        InputError: the keys of the shared store cannot be read.
        StateError: it cannot be read or written, another user could have written it, or it is not
            a key.
    """
    if REPLICA.link is not None:
        return REPLICA.link.contents_key
    if os.path.basename(store) == STORE_NAME and (address := shared_address()):
        from pipeguard.state.postgres.database import PostgresStore
        from pipeguard.state.postgres.shared_key import read_shared_key

        with PostgresStore(address) as opened:
            return read_shared_key(opened, shared_keys())
    path = os.path.join(os.path.dirname(store), KEY_NAME)
    try:
        with suppress(FileNotFoundError):
            return _read(path)
        _write(path)
        return _read(path)  # the key of the process that was first
    except OSError as error:
        raise StateError(f"the key {path} cannot be used: {error.strerror}.") from None


class KeyedHash:
    """HMAC-SHA-256 of frames (RFC 2104), in hexadecimal.

    The blocks of the key are hashed once. `hmac.digest` hashes them each time, and hands the
    interpreter to another thread for it.

    Args:
        key: at most 64 bytes.
    """

    def __init__(self, key: bytes) -> None:
        block = key.ljust(64, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))

    def __call__(self, frame: bytes) -> str:
        """The digest of a frame."""
        inner = self._inner.copy()
        outer = self._outer.copy()
        inner.update(frame)
        outer.update(inner.digest())
        return outer.hexdigest()


def _read(path: str) -> bytes:
    key = b""
    for _ in range(_TRIES):
        with open(path, "rb") as file:
            believe(path, os.fstat(file.fileno()))
            key = file.read(KEY_BYTES + 1)
        if key:
            break
        sleep(_PAUSE_SECONDS)
    if len(key) != KEY_BYTES:
        raise StateError(
            f"{path} is not a key: it does not have {KEY_BYTES} bytes.\n"
            "  Remove it, and PipeGuard makes a new one; exceptions for one `content` then no"
            " longer apply."
        )
    return key


def _write(path: str) -> None:
    """Write a whole key, unless another process was faster."""
    draft = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    _create(draft)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    except OSError:  # FAT, exFAT and some network drives have no links
        with suppress(FileExistsError):
            _create(path)  # until it is written, readers see an empty file, and wait
    finally:
        os.unlink(draft)


def _create(path: str) -> None:
    """Make a file with a new key; without O_BINARY, Windows writes a byte more for some keys."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        os.write(descriptor, os.urandom(KEY_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
