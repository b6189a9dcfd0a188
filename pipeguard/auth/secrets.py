"""Secrets by name, and references to them: `keyring:NAME`.

A reference replaces a value: in a variable of an entry, in a header, or in an argument, where more
text may surround it. The system's keyring has the values; on a machine without one, a file of mode
0600 has one in clear, if a person says so. The state folder has the names, because no keyring lists
its entries. Knows no server and no client.
"""

import hashlib
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pipeguard.auth import ring
from pipeguard.auth.place import Place, read_private, remove_file, write_private
from pipeguard.config.directories import read_own
from pipeguard.errors import AuthError, InputError, StateError
from pipeguard.launch.environment import REFERENCE
from pipeguard.secrets_in_use import in_use
from pipeguard.state.paths import state_folder
from pipeguard.unicode.display import show

SERVICE = "pipeguard"  # as people see it in their keyring; the account there is the secret's name
LIMIT_CHARS = min(ring.PART_CHARS, 2**16)  # of a value
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_LIMIT_BYTES = 4 * LIMIT_CHARS  # of a file with one
_SHOWN_CHARS = 60
# A reference, which an Authorization header's scheme may precede (RFC 9110, 11.4). With a slash
# after the colon it is another program's.
_REFERENCE = re.compile(
    rf"\s*(?P<scheme>(?:bearer|basic|token)\s+)?{REFERENCE}(?P<name>(?!/).*)", re.IGNORECASE
)
_IN_ARGUMENT = re.compile(rf"(?<![\w.-]){REFERENCE}([\w.-]+)", re.IGNORECASE)


class StoredSecret(NamedTuple):
    """The name of a secret that was stored with this state folder.

    Attributes:
        kept_at: when it was stored, in seconds since the epoch.
        place: of its value.
    """

    name: str
    kept_at: float
    place: Place


def store(name: str, value: str, place: Place = Place.KEYRING) -> bool:
    """Store a secret, replacing the last one with this name.

    Args:
        name: its name.
        value: its value.
        place: of the value; a file has it in clear, closed to other users.

    Returns:
        False if the keyring did not answer, so that the last value stays there.

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
    before = find_place(name)
    is_alone = True
    if place is Place.KEYRING:
        ring.must_work()
        ring.replace(SERVICE, name, value)
        remove_file(_file(name))
    else:
        write_private(_file(name), value.encode("utf-8", "surrogateescape"))
        if before is Place.KEYRING:
            is_alone = ring.drop_if_it_answers(SERVICE, [name])
    write_private(_note(name), name.encode())
    return is_alone


def read_value(name: str) -> str:
    """Read a secret; the keyring may ask a person to unlock it.

    Raises:
        InputError: the name is invalid, or the secret does not exist.
        AuthError: the keyring did not answer.
        StateError: others may read or write its file.
    """
    _must_be_name(name)
    if _file(name).exists():
        advice = "Replace the secret; to close the file:"
        content = read_private(_file(name), _LIMIT_BYTES, holds="secret", advice=advice)
        return in_use(content.decode("utf-8", "surrogateescape"))
    has_keyring = ring.is_there()
    value = ring.read_text(SERVICE, [name]) if has_keyring else None
    if value is None:
        raise InputError(
            f"{'the keyring has' if has_keyring else 'there is'} no secret {name!r}.\n"
            f"  Store it:  {set_command(name)}     See all:  pipeguard secrets list"
        )
    return in_use(value)


def set_command(name: str) -> str:
    """The command that stores a secret on this machine, which may have no keyring."""
    with suppress(AuthError):
        return f"pipeguard secrets set {name}{'' if ring.is_there() else ' --store file'}"
    return f"pipeguard secrets set {name}"


def drop(name: str) -> None:
    """Delete a secret.

    Raises:
        InputError: the secret does not exist.
        AuthError: the keyring did not delete it.
        StateError: its name or its file cannot be removed.
    """
    place = find_place(name)
    if place is None:
        read_value(name)  # it may be stored by another program, or with another state folder
    if place is Place.FILE:
        ring.drop_if_it_answers(SERVICE, [name])  # it may have one from before
    else:
        ring.drop(SERVICE, [name])
    remove_file(_file(name))
    remove_file(_note(name))


def stored_secrets() -> list[StoredSecret]:
    """The secrets stored with this state folder, by name; the keyring is not opened.

    Raises:
        StateError: a name cannot be read.
    """
    stored = []
    for path in _folder().glob("*.name"):
        name = read_own(str(path), LIMIT_CHARS, StateError).decode("utf-8", "replace").strip()
        if NAME.fullmatch(name):
            place = find_place(name) or Place.KEYRING
            stored.append(StoredSecret(name, path.stat().st_mtime, place))
    return sorted(stored, key=lambda secret: secret.name)


def find_place(name: str) -> Place | None:
    """Find a secret that was stored with this state folder, if there is one."""
    if _file(name).exists():
        return Place.FILE
    return Place.KEYRING if _note(name).exists() else None


def resolve(value: str, what: str) -> str:
    """A value with its reference replaced by the secret; a scheme stays.

    Args:
        value: any text.
        what: the owner of the value, for the error.

    Raises:
        InputError: it refers to a missing secret, or to an invalid name.
        AuthError: the keyring did not answer.
    """
    reference = _REFERENCE.fullmatch(value)
    if reference is None:
        return value
    try:
        return (reference["scheme"] or "") + read_value(reference["name"].strip())
    except InputError as error:
        what = show(what, 2 * _SHOWN_CHARS)
        value = show(value.strip(), _SHOWN_CHARS)
        raise InputError(f"{what} refers to {value}: {error}") from None


def find_references(value: str, *, is_argument: bool) -> list[str]:
    """The names of the secrets that a value refers to."""
    if is_argument:
        return _IN_ARGUMENT.findall(value)
    reference = _REFERENCE.fullmatch(value)
    return [reference["name"].strip()] if reference else []


def resolve_argument(argument: str, what: str) -> str:
    """An argument with each reference in it replaced by the secret.

    Raises:
        InputError: it refers to a missing secret, or to an invalid name.
        AuthError: the keyring did not answer.
    """
    return _IN_ARGUMENT.sub(lambda reference: resolve(reference[0], what), argument)


def _must_be_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise InputError(
            f"{show(name, _SHOWN_CHARS)!r} is not a name for a secret: use up to 100 letters,"
            " digits, _ . and -, the first no . or -."
        )


def _folder() -> Path:
    return state_folder() / "secrets"


def _note(name: str) -> Path:
    """The file with a secret's name; named by a hash, because some file systems ignore case."""
    return _folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.name"


def _file(name: str) -> Path:
    """The file with a secret's value, if a person wanted one."""
    return _note(name).with_suffix(".secret")
