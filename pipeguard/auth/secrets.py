"""Secrets by name, in the system's keyring, and the references to them: `keyring:NAME`.

A reference stands where a value would: in a variable of an entry, or in a header's. Only the
keyring holds a value; the state folder holds the names, as no keyring lists what is in it. Knows
no server and no client.
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
# With the scheme of an Authorization header before it (RFC 9110, 11.4), or alone. What has a
# slash behind it is another program's.
_REFERENCE = re.compile(
    rf"\s*(?P<scheme>(?:bearer|basic|token)\s+)?{REFERENCE}(?P<name>(?!/).*)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A secret that was kept here.

    Attributes:
        name: its name.
        kept_at: when, in seconds since the epoch.
    """

    name: str
    kept_at: float


def keep(name: str, value: str) -> None:
    """Keep a secret, in place of the last one of this name.

    Raises:
        InputError: it is no name, or no value that a variable can hold.
        AuthError: the keyring did not take it.
        StateError: its name cannot be written.
    """
    _must_be_name(name)
    if not value.strip() or "\0" in value:
        raise InputError(f"{name}: a secret is a text that is not empty, without a NUL in it.")
    if len(value) > LIMIT_CHARS:
        raise InputError(f"{name}: longer than the {LIMIT_CHARS} characters that can be kept here.")
    ring.must_work()
    ring.keep(SERVICE, name, value)
    _write(_note(name), name)


def value_of(name: str) -> str:
    """A secret; the keyring may ask a person to open it.

    Raises:
        InputError: it is no name, or there is no such secret.
        AuthError: the keyring did not answer.
    """
    _must_be_name(name)
    value = ring.text_of(SERVICE, [name])
    if value is None:
        raise InputError(
            f"the keyring has no secret {name!r}.\n"
            f"  Keep it:  pipeguard secrets set {name}     See all:  pipeguard secrets list"
        )
    return in_use(value)


def drop(name: str) -> None:
    """Forget a secret.

    Raises:
        InputError: there is none of this name.
        AuthError: the keyring did not let it go.
        StateError: its name cannot be removed.
    """
    is_noted = _note(name).exists()
    if not is_noted:
        value_of(name)  # kept by another program, or with another state folder
    ring.drop(SERVICE, [name])
    try:
        _note(name).unlink(missing_ok=True)
    except OSError as error:
        raise StateError(f"{_note(name)} cannot be removed: {error.strerror}.") from None


def known() -> list[StoredSecret]:
    """What was kept from here, by name; the keyring is not asked.

    Raises:
        StateError: a name cannot be read.
    """
    found = []
    for path in _folder().glob("*.name"):
        name = read_own(str(path), LIMIT_CHARS, StateError).decode("utf-8", "replace").strip()
        if NAME.fullmatch(name):
            found.append(StoredSecret(name, path.stat().st_mtime))
    return sorted(found, key=lambda one: one.name)


def is_known(name: str) -> bool:
    """True where a secret of this name was kept from here."""
    return _note(name).exists()


def resolved(value: str, what: str) -> str:
    """A value, or the secret that it refers to; its scheme stays before it.

    Args:
        value: any text.
        what: whose value it is, for the error.

    Raises:
        InputError: it refers to a secret that is not there, or to what is no name.
        AuthError: the keyring did not answer.
    """
    found = _REFERENCE.fullmatch(value)
    if found is None:
        return value
    try:
        return (found["scheme"] or "") + value_of(found["name"].strip())
    except InputError as error:
        raise InputError(
            f"{what} refers to {shown(value.strip(), _SHOWN_CHARS)}: {error}"
        ) from None


def all_resolved(variables: Mapping[str, str]) -> dict[str, str]:
    """Variables, each with the secret that it refers to in its place.

    Raises:
        InputError: a secret is not there.
        AuthError: the keyring did not answer.
    """
    return {
        name: resolved(value, f"the variable {shown(name, _SHOWN_CHARS)}")
        for name, value in variables.items()
    }


def _must_be_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise InputError(
            f"{shown(name, _SHOWN_CHARS)!r} is no name of a secret: up to 100 letters, digits, and"
            " _ . - behind the first."
        )


def _folder() -> Path:
    return state_folder() / "secrets"


def _note(name: str) -> Path:
    """The file that says that there is a secret. Some systems take A and a for one name."""
    return _folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.name"


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, text.encode())
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error.strerror}.") from None
