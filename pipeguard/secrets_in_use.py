"""The secrets that this process uses: added where they are read, masked wherever it writes."""

from __future__ import annotations

from pipeguard.detect.flows.known_secrets import KnownSecrets

IN_USE = KnownSecrets()


def in_use(value: str) -> str:
    """Mask this value from now on; for `Bearer TOKEN`, also the token by itself.

    Returns:
        The value.
    """
    IN_USE.add((value, value.rpartition(" ")[2]))
    return value
