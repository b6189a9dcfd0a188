"""Secrets by name in the system's keyring, and references to them: `keyring:NAME`.

A reference replaces a value: in a variable of an entry, or in a header. Only the keyring has the
values; the state folder has the names, since no keyring lists its entries. Knows no server and no
client.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeguard.auth import ring
from pipeguard.config.atomic_write import replace_file
from pipeguard.config.directories import read_own
from pipeguard.core.unicode.display import shown
from pipeguard.errors import InputError, StateError
from pipeguard.launch.environment import REFERENCE
from pipeguard.secrets_in_use import in_use
from pipeguard.state.paths import state_folder

SERVICE = "pipeguard"  # as people see it in their keyring; the account there is the secret's name
LIMIT_CHARS = min(ring.PART_CHARS, 2**16)  # of a value
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_SHOWN_CHARS = 60
# A reference, which an Authorization header's scheme may precede (RFC 9110, 11.4). With a slash
# after the colon it is another program's.
_REFERENCE = re.compile(
    rf"\s*(?P<scheme>(?:bearer|basic|token)\s+)?{REFERENCE}(?P<name>(?!/).*)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """The name of a secret that was stored with this state folder.

    Attributes:
        name: its name.
        kept_at: when it was stored, in seconds since the epoch.
    """

    name: str
    kept_at: float


def store(name: str, value: str) -> None:
    """Store a secret, in place of the last one with this name.

    Raises:
        InputError: the name is invalid, or a variable cannot have the value.
        AuthError: the keyring did not accept it.
        StateError: its name cannot be written.
    """
    _must_be_name(name)
    if not value.strip() or "\0" in value:
        raise InputError(f"{name}: a secret must not be empty or contain a NUL.")
    if len(value) > LIMIT_CHARS:
        raise InputError(f"{name}: longer than the {LIMIT_CHARS} characters that can be stored.")
    ring.must_work()
    ring.replace(SERVICE, name, value)
    _write(_note(name), name)


def value_of(name: str) -> str:
    """Read a secret; the keyring may ask a person to unlock it.

    Raises:
        InputError: the name is invalid, or there is no such secret.
        AuthError: the keyring did not answer.
    """
    _must_be_name(name)
    value = ring.text_of(SERVICE, [name])
    if value is None:
        raise InputError(
            f"the keyring has no secret {name!r}.\n"
            f"  Store it:  pipeguard secrets set {name}     See all:  pipeguard secrets list"
        )
    return in_use(value)


def drop(name: str) -> None:
    """Delete a secret.

    Raises:
        InputError: there is none with this name.
        AuthError: the keyring did not delete it.
        StateError: its name cannot be removed.
    """
    is_noted = _note(name).exists()
    if not is_noted:
        value_of(name)  # it may be stored by another program, or with another state folder
    ring.drop(SERVICE, [name])
    try:
        _note(name).unlink(missing_ok=True)
    except OSError as error:
        raise StateError(f"{_note(name)} cannot be removed: {error.strerror}.") from None


def stored_secrets() -> list[StoredSecret]:
    """The secrets stored with this state folder, by name; the keyring is not opened.

    Raises:
        StateError: a name cannot be read.
    """
    stored = []
    for path in _folder().glob("*.name"):
        name = read_own(str(path), LIMIT_CHARS, StateError).decode("utf-8", "replace").strip()
        if NAME.fullmatch(name):
            stored.append(StoredSecret(name, path.stat().st_mtime))
    return sorted(stored, key=lambda secret: secret.name)


def is_stored(name: str) -> bool:
    """True where a secret with this name was stored with this state folder."""
    return _note(name).exists()


def resolved(value: str, what: str) -> str:
    """A value, with the secret that it refers to in place of the reference; a scheme stays.

    Args:
        value: any text.
        what: whose value it is, for the error.

    Raises:
        InputError: it refers to a missing secret, or to an invalid name.
        AuthError: the keyring did not answer.
    """
    reference = _REFERENCE.fullmatch(value)
    if reference is None:
        return value
    try:
        return (reference["scheme"] or "") + value_of(reference["name"].strip())
    except InputError as error:
        raise InputError(
            f"{what} refers to {shown(value.strip(), _SHOWN_CHARS)}: {error}"
        ) from None


def all_resolved(variables: Mapping[str, str]) -> dict[str, str]:
    """Variables, with secrets in place of the references to them.

    Raises:
        InputError: a secret is missing.
        AuthError: the keyring did not answer.
    """
    return {
        name: resolved(value, f"the variable {shown(name, _SHOWN_CHARS)}")
        for name, value in variables.items()
    }


def _must_be_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise InputError(
            f"{shown(name, _SHOWN_CHARS)!r} is not a name for a secret: use up to 100 letters,"
            " digits, _ . and -, the first no . or -."
        )


def _folder() -> Path:
    return state_folder() / "secrets"


def _note(name: str) -> Path:
    """The file with a secret's name; named by a hash, since some file systems ignore case."""
    return _folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.name"


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, text.encode())
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error.strerror}.") from None
