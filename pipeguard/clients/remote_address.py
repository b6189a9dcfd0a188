"""The address of a remote server: its parts, and whether it has a secret in it."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pipeguard.clients.catalog import Shape
from pipeguard.clients.masking import is_secret


def parts_of(url: str) -> SplitResult | None:
    """The parts of an address; None where it is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def has_secret(url: str, shape: Shape) -> bool:
    """Whether an address has a secret in it, apart from variables that its client replaces."""
    parts = parts_of(re.sub(shape.variable, "", url))  # a variable's value is not in the file
    if parts is None:
        return False
    if parts.password or (parts.username and is_secret("", parts.username)):
        return True
    pairs = parse_qsl(parts.query, keep_blank_values=False)
    return any(is_secret(name, value) for name, value in pairs) or any(
        is_secret("", part) for part in parts.path.split("/")
    )
