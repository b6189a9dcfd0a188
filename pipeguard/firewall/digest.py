"""SHA-256 (FIPS 180-4) and BLAKE2b, without the 4 MB and 2 ms that OpenSSL costs to load.

`hashlib` prefers OpenSSL. The interpreter has an implementation of its own, from 3.12 on HACL*,
which is formally verified. It is half as fast, which does not matter here. `hashlib` serves in
builds without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import blake2b, sha256
else:
    try:
        from _blake2 import blake2b  # RFC 7693
    except ImportError:
        from hashlib import blake2b
    try:
        from _sha2 import sha256  # CPython 3.12 and later
    except ImportError:
        try:
            from _sha256 import sha256  # CPython 3.11
        except ImportError:
            from hashlib import sha256

__all__ = ["blake2b", "hexdigest", "sha256"]

LARGE_BYTES = 2**18  # from here on OpenSSL's speed is worth its memory: 0.5 ms/MB, not 2 to 4


def hexdigest(data: bytes | memoryview) -> str:
    """The SHA-256 of bytes of any length, as 64 hex digits."""
    if len(data) < LARGE_BYTES:
        return sha256(data).hexdigest()
    import hashlib

    return hashlib.sha256(data).hexdigest()
