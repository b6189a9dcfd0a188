"""Stored logins: their secrets in the system's keyring, everything else in a file.

Each server has one file of mode 0600 in the state folder. It contains no secret unless the person
who logged in asked for that. Knows nothing of OAuth's flows.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from pipeguard.auth import ring
from pipeguard.auth.place import Place, read_private, remove_file, write_private
from pipeguard.auth.server import canonical, login_command
from pipeguard.errors import InputError, LoginNeededError, StateError
from pipeguard.state.paths import existing_state_folder, state_folder

LIMIT_BYTES = 2**20  # of a file
LOCK_SECONDS = 60.0  # the longest that another process may take to renew a token
_VERSION = 1
_TRIES = 3  # to read a login that another process is replacing


class Registration(StrEnum):
    """Our registration with a server (MCP basic/authorization, "Client Registration")."""

    GIVEN = "given"  # registered by hand, its id given on the command line
    DOCUMENT = "document"  # a client id metadata document
    DYNAMIC = "dynamic"  # RFC 7591


@dataclass(frozen=True, slots=True)
class Secrets:
    """A login's secrets; `repr` does not show them."""

    access_token: str = ""
    refresh_token: str = ""
    client_secret: str = ""

    def __repr__(self) -> str:
        return "Secrets(…)"

    def all(self) -> tuple[str, ...]:
        """The secrets that are not empty."""
        return tuple(filter(None, (self.access_token, self.refresh_token, self.client_secret)))


@dataclass(frozen=True, slots=True)
class StoredLogin:
    """The last login to one server, without its secrets.

    Attributes:
        server: the canonical URI of the only server that the tokens are for.
        name: given by a person.
        issuer: the authorization server's issuer; "" if it has no metadata.
        place: of the secrets.
        client: our registration there (RFC 7591, 3.2.1), without its secret.
        registration: how we were registered.
        metadata: the authorization server's metadata (RFC 8414), or None.
        resource_metadata: the server's metadata (RFC 9728), or None.
        scope: the granted scopes, separated by spaces.
        wanted: scopes that the server asked for later and that were not granted.
        obtained_at: when the access token was issued, in seconds since the epoch.
        expires_at: when it expires; None if the server did not say.
        ca: a file of certificate authorities to trust instead of the system's, or "".
        has_access: whether there is an access token, known without opening the keyring.
        has_refresh: whether there is a refresh token, known in the same way.
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
        """True if only a person can renew the login; `now` in seconds since the epoch."""
        return not self.has_refresh and self.expires_at is not None and self.expires_at <= now


class LoginStore:
    """Logins by server, for all processes of a user."""

    def __init__(self, folder: Path | None = None, part_chars: int = ring.PART_CHARS) -> None:
        """Name the folder; the first login creates it.

        Raises:
            StateError: the state folder cannot be used.
        """
        self._folder = folder or state_folder() / "auth"
        self._part_chars = part_chars

    def logins(self) -> list[StoredLogin]:
        """All logins, by name, without their secrets.

        Raises:
            StateError: one cannot be read.
        """
        logins = [self._load(path)[0] for path in sorted(self._folder.glob("*.json"))]
        return sorted(logins, key=lambda login: (login.name, login.server))

    def stamp(self, server: str) -> tuple[int, int, int] | None:
        """A value that changes when a login is saved; None without a login. Does not block."""
        with suppress(OSError):
            status = os.stat(self._path(server))
            return status.st_ino, status.st_mtime_ns, status.st_size
        return None

    def read(self, server: str) -> tuple[StoredLogin, Secrets] | None:
        """A server's login; the keyring may ask a person to unlock it.

        Raises:
            StateError: it cannot be read.
            LoginNeededError: the keyring has lost it.
            AuthError: the keyring did not answer.
        """
        path = self._path(server)
        for _ in range(_TRIES):
            if not path.exists():
                return None
            login, secrets = self._load(path)
            if login.place is Place.FILE:
                return login, _secrets(secrets, path)
            text = ring.read_text(_service(server), _accounts(secrets, path))
            if text is not None:
                return login, _secrets(text, path)
        raise LoginNeededError(
            f"{server} needs a new login: the keyring has lost the last one.\n"
            f"  Log in again:  {login_command(server)}"
        )

    def save(self, login: StoredLogin, secrets: Secrets) -> None:
        """Store a login, replacing the server's last one, as a whole or not at all.

        Raises:
            StateError: it cannot be written.
            AuthError: the keyring did not accept it.
        """
        login = replace(
            login, has_access=bool(secrets.access_token), has_refresh=bool(secrets.refresh_token)
        )
        service = _service(login.server)
        before = self._earlier_accounts(login.server)
        values = asdict(secrets)
        content = asdict(login)
        if login.place is Place.KEYRING:
            content["secrets"] = ring.put(service, json.dumps(values), self._part_chars)
        else:
            content["secrets"] = values
        written = json.dumps({"version": _VERSION, **content}, indent=1).encode()
        write_private(self._path(login.server), written)
        if login.place is Place.KEYRING:
            ring.drop(service, before)
        elif before:
            ring.drop_if_it_answers(service, before)

    def forget(self, server: str) -> bool:
        """Delete a login and its secrets; False if there was none.

        Raises:
            StateError: it cannot be removed.
            AuthError: the keyring did not delete it.
        """
        path = self._path(server)
        if not path.exists():
            return False
        ring.drop(_service(server), self._earlier_accounts(server))
        remove_file(path)
        return True

    @contextmanager
    def lock(self, server: str) -> Iterator[None]:
        """Keep other processes from renewing this server's token; the lock ends with its process.

        Raises:
            StateError: another process had it for a minute, or the folder cannot be created.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(f"{self._folder} cannot be created: {error.strerror}.") from None
        file = self._path(server).with_suffix(".lock")
        try:
            # SQLite's lock is portable and ends with its process; the file stays empty.
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

    def _load(self, path: Path) -> tuple[StoredLogin, object]:
        advice = "Close the file, and log in again:"
        content = read_private(path, LIMIT_BYTES, holds="login", advice=advice)
        try:
            values = json.loads(content)
            secrets = values.pop("secrets")
            is_ours = values.pop("version") == _VERSION
            values["place"] = Place(values["place"])
            values["registration"] = Registration(values["registration"])
            login = StoredLogin(**values)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise _invalid_file(path) from None
        if not is_ours:
            raise _invalid_file(path)
        return login, secrets

    def _earlier_accounts(self, server: str) -> list[str]:
        path = self._path(server)
        if not path.exists():
            return []
        login, secrets = self._load(path)
        return _accounts(secrets, path) if login.place is Place.KEYRING else []


def has_login(server: str) -> bool:
    """True if there is a login for an address; makes no folder for the lookup."""
    folder = existing_state_folder()
    with suppress(InputError):  # tokens would be sent unencrypted
        stamp = folder and LoginStore(folder / "auth").stamp(canonical(server))
        return stamp is not None
    return False


def _service(server: str) -> str:
    return f"pipeguard {server}"  # as people see it in their keyring


def _accounts(value: object, path: Path) -> list[str]:
    """The keyring's entries, from a login's file."""
    if isinstance(value, list) and all(isinstance(account, str) for account in value):
        return value
    raise _invalid_file(path)


def _secrets(value: object, path: Path) -> Secrets:
    """Secrets from a login's file, or as JSON from the keyring."""
    with suppress(ValueError, TypeError):  # invalid, like any other value
        values = json.loads(value) if isinstance(value, str) else value
        if isinstance(values, dict) and all(isinstance(text, str) for text in values.values()):
            return Secrets(**values)
    raise _invalid_file(path)


def _invalid_file(path: Path) -> StateError:
    return StateError(
        f"{path} is not a login that this version of PipeGuard wrote.\n"
        "  Remove it, and log in again."
    )
