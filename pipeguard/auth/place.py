"""The place where secrets are stored, as a person chooses."""

from __future__ import annotations

from enum import StrEnum


class Place(StrEnum):
    """The place of a login's secrets, or of a secret by its name."""

    KEYRING = "keyring"
    FILE = "file"
