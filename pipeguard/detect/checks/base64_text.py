"""Base64 as tokens are written in it."""

from __future__ import annotations

import binascii


def base64_decoded(text: bytes) -> bytes | None:
    """The bytes under base64 or base64url, padded or not (RFC 4648, 4 and 5); None for others."""
    text = text.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error:
        return None
