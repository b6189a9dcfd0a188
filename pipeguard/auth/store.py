"""What a login left, kept between runs: secrets in the system's keyring, the rest in a file.

One file of mode 0600 a server, in the state folder. It holds no secret unless the person who logged
in asked for that. Knows nothing of OAuth's flows.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import stat
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from pipeguard.auth import ring
from pipeguard.auth.server import canonical, login_command
from pipeguard.config.atomic_write import replace_file
from pipeguard.config.directories import read_own
from pipeguard.errors import InputError, LoginNeededError, StateError
from pipeguard.state.paths import state_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_BYTES = 2**20  # of a file
LOCK_SECONDS = 60.0  # the longest that another process may take to renew a token
_VERSION = 1
_TRIES = 3  # to read what another process is just replacing


class Place(StrEnum):
    """Where a login's secrets are kept."""

    KEYRING = "keyring"
    FILE = "file"


class Registration(StrEnum):
    """How an authorization server knows us (MCP basic/authorization, "Client Registration")."""

    GIVEN = "given"  # by hand, told on the command line
    DOCUMENT = "document"  # a client id metadata document
    DYNAMIC = "dynamic"  # RFC 7591


@dataclass(frozen=True, slots=True)
class Secrets:
    """What must be seen by nobody; `repr` does not show it."""

    access_token: str = ""
    refresh_token: str = ""
    client_secret: str = ""

    def __repr__(self) -> str:
        return "Secrets(…)"

    def all(self) -> tuple[str, ...]:
        """Those that there are."""
        return tuple(filter(None, (self.access_token, self.refresh_token, self.client_secret)))


@dataclass(frozen=True, slots=True)
class StoredLogin:
    """What is known of one server from the last login.

    Attributes:
        server: its canonical URI, for which alone the tokens are.
        name: what a person calls it.
        issuer: of the authorization server; "" where it has no metadata.
        place: of the secrets.
        client: our registration there (RFC 7591, 3.2.1), without its secret.
        registration: how we came to it.
        metadata: the authorization server's (RFC 8414), or None.
        resource_metadata: the server's (RFC 9728), or None.
        scope: what was granted, separated by spaces.
        wanted: what the server asked for since then and has not got.
        obtained_at: when the access token came, in seconds since the epoch.
        expires_at: when it ends; None where nobody said.
        ca: a file of authorities to trust in place of the system's, or "".
        has_access: whether there is an access token, which is told without opening the keyring.
        has_refresh: the same of a refresh token.
    """

    server: str
    name: str
    issuer: str
    place: Place
    client: dict[str, object]
    registration: Registration
    metadata: dict[str, object] | None
    resource_metadata: dict[str, object] | None
    scope: str
    wanted: str
    obtained_at: float
    expires_at: float | None
    ca: str = ""
    has_access: bool = True
    has_refresh: bool = False

    def has_ended(self, now: float) -> bool:
        """True where only a person can renew it; `now` in seconds since the epoch."""
        return not self.has_refresh and self.expires_at is not None and self.expires_at <= now


class LoginStore:
    """Logins by server, for all processes of a user."""

    def __init__(self, folder: Path | None = None, part_chars: int = ring.PART_CHARS) -> None:
        """Name the folder; it is made with the first login.

        Raises:
            StateError: the state folder cannot be used.
        """
        self._folder = folder or state_folder() / "auth"
        self._part_chars = part_chars

    def logins(self) -> list[StoredLogin]:
        """All of them, by name, without their secrets.

        Raises:
            StateError: one cannot be read.
        """
        found = [self._loaded(path)[0] for path in sorted(self._folder.glob("*.json"))]
        return sorted(found, key=lambda login: (login.name, login.server))

    def stamp(self, server: str) -> tuple[int, int, int] | None:
        """What differs once a login was saved anew; None where there is none. Does not wait."""
        try:
            status = os.stat(self._path(server))  # noqa: PTH116  asked for while frames wait
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def holds(self, server: str) -> bool:
        """True where there is a login for a server; its secrets are not read.

        Args:
            server: an address; False for one that tokens would go to in clear.

        Raises:
            StateError: what was kept cannot be read.
        """
        try:
            wanted = canonical(server)
        except InputError:
            return False
        return any(login.server == wanted for login in self.logins())

    def read(self, server: str) -> tuple[StoredLogin, Secrets] | None:
        """A server's login; the keyring may ask a person to open it.

        Raises:
            StateError: it cannot be read.
            LoginNeededError: the keyring does not have it any more.
            AuthError: the keyring did not answer.
        """
        path = self._path(server)
        for _ in range(_TRIES):
            if not path.exists():
                return None
            login, kept = self._loaded(path)
            if login.place is Place.FILE:
                return login, _secrets(kept, path)
            text = ring.text_of(_service(server), _accounts(kept, path))
            if text is not None:
                return login, _secrets(text, path)
        raise LoginNeededError(
            f"the keyring lost the login of {server}.\n  Log in anew:  {login_command(server)}"
        )

    def save(self, login: StoredLogin, kept: Secrets) -> None:
        """Keep a login in place of the server's last one, whole or not at all.

        Raises:
            StateError: it cannot be written.
            AuthError: the keyring did not take it.
        """
        login = replace(
            login, has_access=bool(kept.access_token), has_refresh=bool(kept.refresh_token)
        )
        before = self._accounts_before(login.server)
        values = {field.name: getattr(kept, field.name) for field in fields(Secrets)}
        held: object = values
        if login.place is Place.KEYRING:
            held = ring.put(_service(login.server), json.dumps(values), self._part_chars)
        told = {field.name: getattr(login, field.name) for field in fields(StoredLogin)}
        self._write(self._path(login.server), {"version": _VERSION, **told, "secrets": held})
        ring.drop(_service(login.server), before)

    def forget(self, server: str) -> bool:
        """Drop a login and its secrets; False where there was none.

        Raises:
            StateError: it cannot be removed.
            AuthError: the keyring did not let it go.
        """
        path = self._path(server)
        if not path.exists():
            return False
        ring.drop(_service(server), self._accounts_before(server))
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StateError(f"{path} cannot be removed: {error.strerror}.") from None
        return True

    @contextmanager
    def lock(self, server: str) -> Iterator[None]:
        """Keep other processes from renewing this server's token; a dead one keeps nobody out.

        Raises:
            StateError: another process held it for a minute.
        """
        self._make_folder()
        file = self._path(server).with_suffix(".lock")
        try:
            # SQLite's lock is portable and goes with its process; the file stays empty.
            with closing(
                sqlite3.connect(
                    file, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
                )
            ) as database:
                database.execute("BEGIN EXCLUSIVE")
                yield
        except sqlite3.OperationalError as error:
            raise StateError(f"{file} cannot be locked: {error}.") from None

    def _path(self, server: str) -> Path:
        return self._folder / f"{hashlib.sha256(server.encode()).hexdigest()[:32]}.json"

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(f"{self._folder} cannot be made: {error.strerror}.") from None

    def _loaded(self, path: Path) -> tuple[StoredLogin, object]:
        content = read_own(str(path), LIMIT_BYTES, StateError)
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise StateError(
                f"others may read {path}, so it may be known to them.\n"
                f"  Close it, and log in anew:  chmod 600 {path}"
            )
        login, kept = None, None
        try:
            told = json.loads(content)
            kept = told.pop("secrets")
            is_ours = told.pop("version") == _VERSION
            told["place"] = Place(told["place"])
            told["registration"] = Registration(told["registration"])
            login = StoredLogin(**told)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            is_ours = False
        if login is None or not is_ours:
            raise _no_login(path)
        return login, kept

    def _accounts_before(self, server: str) -> list[str]:
        path = self._path(server)
        if not path.exists():
            return []
        login, kept = self._loaded(path)
        return _accounts(kept, path) if login.place is Place.KEYRING else []

    def _write(self, path: Path, told: dict[str, object]) -> None:
        self._make_folder()
        try:
            replace_file(path, json.dumps(told, indent=1).encode())
        except OSError as error:
            raise StateError(f"{path} cannot be written: {error.strerror}.") from None


def _service(server: str) -> str:
    return f"pipeguard {server}"  # as people see it in their keyring


def _accounts(kept: object, path: Path) -> list[str]:
    if isinstance(kept, list) and all(isinstance(account, str) for account in kept):
        return kept
    raise _no_login(path)


def _secrets(kept: object, path: Path) -> Secrets:
    try:
        values = json.loads(kept) if isinstance(kept, str) else kept
        if isinstance(values, dict) and all(isinstance(value, str) for value in values.values()):
            return Secrets(**values)
    except (ValueError, TypeError):
        pass  # it is told as all else that is not ours
    raise _no_login(path)


def _no_login(path: Path) -> StateError:
    return StateError(
        f"{path} is no login that this version of PipeGuard wrote.\n  Remove it, and log in anew."
    )
