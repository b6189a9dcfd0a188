"""The system's keyring: texts in, texts out, in pieces that it takes; knows no login.

Only a keyring that its library recommends is used, or one that the user chose for that library: a
file in clear is no keyring.
"""

from __future__ import annotations

import contextlib
import secrets
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeguard.core.unicode.display import shown
from pipeguard.errors import AuthError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from keyring.backend import KeyringBackend

# CRED_MAX_CREDENTIAL_BLOB_SIZE is 2560 bytes, of UTF-16; other systems set no limit near it.
PART_CHARS = 1200 if sys.platform == "win32" else 2**20
_SHOWN_CHARS = 200
_chosen = False


def must_work() -> None:
    """See that there is a keyring, before a person is asked for anything.

    Raises:
        AuthError: there is none, and what to do then.
    """
    from keyring.backends import fail, null

    with _told():
        backend = _keyring()
    if isinstance(backend, fail.Keyring | null.Keyring):
        raise AuthError(
            "this system has no keyring that PipeGuard can use, so nothing can be kept in it.\n"
            "  Unlock or install one. A login may be in a file of mode 0600 instead:  --store file"
        )


def put(service: str, text: str, part_chars: int = PART_CHARS) -> list[str]:
    """Keep a text in new entries, so that who reads the old ones is not disturbed; name them.

    Raises:
        AuthError: the keyring did not take it.
    """
    name = secrets.token_hex(8)
    accounts: list[str] = []
    with _told():
        for start in range(0, len(text), part_chars):
            account = f"{name}-{len(accounts)}"
            _keyring().set_password(service, account, text[start : start + part_chars])
            accounts.append(account)
    return accounts


def keep(service: str, account: str, text: str) -> None:
    """Keep a text that fits into one entry, in place of what was there.

    Raises:
        AuthError: the keyring did not take it.
    """
    with _told():
        _keyring().set_password(service, account, text)


def text_of(service: str, accounts: Sequence[str]) -> str | None:
    """What was kept in these entries; None where one of them is gone.

    Raises:
        AuthError: the keyring did not answer.
    """
    with _told():
        parts = [_keyring().get_password(service, account) for account in accounts]
    return None if None in parts else "".join(part or "" for part in parts)


def drop(service: str, accounts: Sequence[str]) -> None:
    """Remove entries; those that are gone already are fine.

    Raises:
        AuthError: the keyring did not let them go.
    """
    from keyring.errors import PasswordDeleteError

    with _told():
        for account in accounts:
            with contextlib.suppress(PasswordDeleteError):
                _keyring().delete_password(service, account)


def _keyring() -> KeyringBackend:
    global _chosen  # noqa: PLW0603  the library's choice is one for the process
    from keyring import core

    if not _chosen:
        core.init_backend(limit=core.recommended)
        _chosen = True
    return core.get_keyring()


@contextmanager
def _told() -> Iterator[None]:
    from keyring.errors import KeyringError

    try:
        yield
    except (KeyringError, OSError, RuntimeError, ImportError, AttributeError) as error:
        raise AuthError(
            f"the system's keyring failed: {type(error).__name__} {shown(str(error), _SHOWN_CHARS)}"
            "\n  Unlock it. A login can also be kept in a file of mode 0600:  --store file"
        ) from None
