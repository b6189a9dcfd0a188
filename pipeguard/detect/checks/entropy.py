"""Shannon's entropy of a secret."""

from __future__ import annotations

from math import log2

MEASURED_BYTES = 4096  # of a secret that checks read: keys are shorter


def entropy(secret: bytes) -> float:
    """Shannon's entropy in bits per byte, of the first 4096 bytes."""
    secret = secret[:MEASURED_BYTES]
    total = len(secret)
    shares = [n / total for n in map(secret.count, set(secret))]
    return -sum([share * log2(share) for share in shares])  # noqa: C419  faster
