"""Where secrets are stored, as a person chooses."""

from __future__ import annotations

from enum import StrEnum


class Place(StrEnum):
    """Where the secrets of a login, or a secret by its name, are stored."""

    KEYRING = "keyring"
    FILE = "file"
