"""The system's keyring: stores texts, in parts of the size that it accepts; knows no login.

Uses only a keyring that the `keyring` library recommends or that the user configured for it: a
plain-text file does not count.
"""

from __future__ import annotations

import secrets
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pipeguard.errors import AuthError
from pipeguard.unicode.display import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from keyring.backend import KeyringBackend

# CRED_MAX_CREDENTIAL_BLOB_SIZE is 2560 bytes, of UTF-16; other systems set no limit near it.
PART_CHARS = 1200 if sys.platform == "win32" else 2**20
_SHOWN_CHARS = 200
_chosen = False


def must_work() -> None:
    """Make sure that a keyring exists, before a person is asked for anything.

    Raises:
        AuthError: it does not; the message has the remedy.
    """
    if not is_there():
        raise AuthError(
            "this system has no keyring that PipeGuard can use, so nothing can be stored in it.\n"
            "  Unlock or install one, or use a file, of mode 0600 and not encrypted:  --store file"
        )


def is_there() -> bool:
    """True if there is a keyring; it may be locked.

    Raises:
        AuthError: the library cannot say.
    """
    from keyring.backends import fail, null

    with _translated_errors():
        return not isinstance(_keyring(), fail.Keyring | null.Keyring)


def put(service: str, text: str, part_chars: int = PART_CHARS) -> list[str]:
    """Store a text in new entries, and return their names; readers of old ones are undisturbed.

    Raises:
        AuthError: the keyring did not accept it.
    """
    name = secrets.token_hex(8)
    accounts: list[str] = []
    with _translated_errors():
        for start in range(0, len(text), part_chars):
            account = f"{name}-{len(accounts)}"
            _keyring().set_password(service, account, text[start : start + part_chars])
            accounts.append(account)
    return accounts


def replace(service: str, account: str, text: str) -> None:
    """Store a text that fits into one entry, replacing the entry's old text.

    Raises:
        AuthError: the keyring did not accept it.
    """
    with _translated_errors():
        _keyring().set_password(service, account, text)


def read_text(service: str, accounts: Sequence[str]) -> str | None:
    """The text in these entries; None if one of them is missing.

    Raises:
        AuthError: the keyring did not answer.
    """
    with _translated_errors():
        parts = [_keyring().get_password(service, account) for account in accounts]
    return None if None in parts else "".join(part or "" for part in parts)


def drop(service: str, accounts: Sequence[str]) -> None:
    """Delete entries; a missing one is not an error.

    Raises:
        AuthError: the keyring did not delete them.
    """
    from keyring.errors import PasswordDeleteError

    with _translated_errors():
        for account in accounts:
            with suppress(PasswordDeleteError):
                _keyring().delete_password(service, account)


def drop_if_it_answers(service: str, accounts: Sequence[str]) -> bool:
    """Delete entries whose texts have moved; False if the keyring did not delete them.

    A user who moves to a file often has no keyring any more, and an error would prevent the move.
    """
    with suppress(AuthError):
        drop(service, accounts)
        return True
    return False


def _keyring() -> KeyringBackend:
    global _chosen  # noqa: PLW0603  the library's choice is one for the process
    from keyring import core

    if not _chosen:
        core.init_backend(limit=core.recommended)
        _chosen = True
    return core.get_keyring()


@contextmanager
def _translated_errors() -> Iterator[None]:
    from keyring.errors import KeyringError

    try:
        yield
    except (KeyringError, OSError, RuntimeError, ImportError, AttributeError) as error:
        raise AuthError(
            f"the system's keyring failed: {type(error).__name__} {show(str(error), _SHOWN_CHARS)}"
            "\n  Unlock it, or use a file, of mode 0600 and not encrypted:  --store file"
        ) from None
