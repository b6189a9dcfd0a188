"""The store that replicas share, as options and variables name it, and the keys that seal for it.

What others could read from the database is sealed: AES-256-GCM, under a key of each process that
is derived from the first one in the file (NIST SP 800-38D, section 8.3: 2^32 random nonces a key).
"""

from __future__ import annotations

import base64
import binascii
import os
from functools import lru_cache
from typing import TYPE_CHECKING

from pipeguard.errors import InputError
from pipeguard.launch.environment import STORE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SECRET_VARIABLE = "PIPEGUARD_SECRET_FILE"  # noqa: S105  names a file
KEY_BYTES = 32
SALT_BYTES, NONCE_BYTES, TAG_BYTES = 16, 12, 16
MOST_SECRET_BYTES = 2**16


def shared_address() -> str:
    """The address of the store that replicas share; empty for the user's own file."""
    return os.environ.get(STORE_VARIABLE, "")


def list_secret_files() -> list[str]:
    """The files that open the store that replicas share: its keys, and its password."""
    if not shared_address():
        return []
    home = os.environ.get("APPDATA", "") if os.name == "nt" else os.path.expanduser("~")
    passfile = "postgresql/pgpass.conf" if os.name == "nt" else ".pgpass"
    return [
        *filter(None, map(os.environ.get, (SECRET_VARIABLE, "PGPASSFILE", "PGSERVICEFILE"))),
        os.path.join(home, passfile),
        os.path.join(home, ".pg_service.conf"),
    ]


class Keys:
    """Keys of 32 bytes: the first one seals, each opens."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)
        self._salt = os.urandom(SALT_BYTES)

    def seal(self, text: bytes, about: bytes) -> bytes:
        """Seal a text, which opens only with the same `about`."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = _cipher(self._keys[0], self._salt).encrypt(nonce, text, about)
        return self._salt + nonce + sealed

    def keep_first(self) -> Keys:
        """Only the key that seals."""
        return Keys(self._keys[:1])

    def open(self, sealed: bytes, about: bytes) -> bytes | None:
        """The sealed text; None if none of the keys sealed it, or if anything was changed."""
        from cryptography.exceptions import InvalidTag

        if len(sealed) < SALT_BYTES + NONCE_BYTES + TAG_BYTES:
            return None
        salt, rest = sealed[:SALT_BYTES], sealed[SALT_BYTES:]
        for key in self._keys:
            try:
                return _cipher(key, salt).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], about)
            except InvalidTag:
                continue
        return None


def shared_keys() -> Keys:
    """The keys of the shared store, from the file that the environment names; read once.

    Raises:
        InputError: as `read_keys`, or it names none.
    """
    path = os.environ.get(SECRET_VARIABLE)
    if not path:
        raise InputError(f"{STORE_VARIABLE} needs {SECRET_VARIABLE}, the file with its keys.")
    return _read_once(path)


@lru_cache(maxsize=1)
def _read_once(path: str) -> Keys:
    return read_keys(path)


@lru_cache(maxsize=256)  # of the processes whose texts were opened last
def _cipher(key: bytes, salt: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(SHA256(), KEY_BYTES, salt, b"pipeguard").derive(key)
    return AESGCM(derived)


def read_keys(path: str) -> Keys:
    """Read a file of keys: one a line, of 32 random bytes in base64.

    Raises:
        InputError: it cannot be read, others can read it, or a key is too short.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(MOST_SECRET_BYTES)
    except OSError as error:
        raise InputError(f"the secret file {path} cannot be read: {error.strerror}.") from None
    if os.name == "posix" and mode & 0o077:
        raise InputError(f"other users can read {path}.\n  Close it:  chmod 600 {path}")
    try:
        keys = [base64.b64decode(line, validate=True) for line in text.split()]
    except binascii.Error:
        keys = []
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise InputError(
            f"{path} needs keys of {KEY_BYTES} random bytes in base64, one a line.\n"
            f"  Make one:  openssl rand -base64 {KEY_BYTES}"
        )
    return Keys(keys)
