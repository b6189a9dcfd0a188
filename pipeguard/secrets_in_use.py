"""The secrets that this process holds itself: added where they are read, masked where it speaks."""

from __future__ import annotations

from pipeguard.core.flows.known_secrets import KnownSecrets

IN_USE = KnownSecrets()


def in_use(value: str) -> str:
    """Know a value for a secret from now on; of `Bearer TOKEN` the token is one by itself.

    Returns:
        The value.
    """
    IN_USE.add((value, value.rpartition(" ")[2]))
    return value
