"""Bearer tokens of the gateway's clients: who may use which servers and tools, until when.

The store has the SHA-256 of each token, never the token itself. Knows no HTTP.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from pipeguard.errors import InputError, StateError
from pipeguard.state.audit import decision_entry, record_decision
from pipeguard.state.dismissals import dismiss
from pipeguard.state.pins import Store
from pipeguard.state.timestamps import now_text, second_text
from pipeguard.unicode.display import those_there_are

PREFIX = "pgt_"  # for people and secret scanners to recognise one
TOKEN_BYTES = 32
EFFECTS = ("read", "write", "destructive")
DECIDE = "decide"  # instead of an effect: it only opens the page
MOST_TOKENS = 1000
_COLUMNS = "name, sha256, servers, tools, effect, per_minute, manages, created, expires"
_REVOKED = "subject "  # and the subject, among the dismissals
_ONCE_MADE = ""  # the name of a row that says that a token existed; it lets no client in


class TokenScope(NamedTuple):
    """The access of a token's client.

    Attributes:
        servers: globs of servers' names.
        tools: globs of tools, as agents call them, or as `server/tool`.
        effect: the most that a tool may do: `read`, `write` or `destructive`; `decide` for a token
            that opens the page instead, and calls nothing.
        per_minute: calls; 0 for any number.
        manages: whether it may propose servers, if the gateway's settings allow that.
    """

    servers: tuple[str, ...] = ("*",)
    tools: tuple[str, ...] = ("*",)
    effect: str = "destructive"
    per_minute: int = 0
    manages: bool = False

    def only_reading(self) -> TokenScope:
        """A copy without all that changes something."""
        effect = EFFECTS[0] if self.effect in EFFECTS else self.effect
        return self._replace(effect=effect, manages=False)

    def describe_limits(self) -> list[str]:
        """Describe its limits, other than the names of servers and tools."""
        if self.decides:
            return ["opens the page, and calls nothing"]
        return [
            f"up to {self.effect}",
            *([f"{self.per_minute} calls a minute"] if self.per_minute else []),
            *(["may propose servers"] if self.manages else []),
        ]

    @property
    def decides(self) -> bool:
        """True for a token that only opens the page."""
        return self.effect == DECIDE

    @property
    def is_unlimited(self) -> bool:
        """True if it limits only the rate."""
        return self == TokenScope(per_minute=self.per_minute, manages=self.manages)


class StoredToken(NamedTuple):
    """One token.

    Attributes:
        name: of its owner.
        digest: its SHA-256.
        scope: the rights of its client.
        created: when it was made (ISO 8601, UTC).
        expires: when it ends (ISO 8601, UTC); empty for never.
    """

    name: str
    digest: bytes
    scope: TokenScope
    created: str
    expires: str = ""

    def is_expired(self, now: str) -> bool:
        """True if it has ended at a moment (ISO 8601, UTC)."""
        return bool(self.expires) and self.expires <= now


def stored_tokens(store: Store) -> list[StoredToken]:
    """All tokens, by name."""
    query = f"SELECT {_COLUMNS} FROM tokens WHERE name <> ? ORDER BY name"  # noqa: S608  a constant
    rows = store.read(query, _ONCE_MADE)
    tokens = []
    for name, digest, servers, tools, effect, per_minute, manages, created, expires in rows:
        scope = TokenScope(
            tuple(json.loads(servers)), tuple(json.loads(tools)), effect, per_minute, bool(manages)
        )
        tokens.append(StoredToken(name, digest, scope, created, expires))
    return tokens


def find_last_uses(store: Store) -> dict[str, str]:
    """The time of each token's last call after it was made, as far as the audit goes back.

    Raises:
        StateError: the store cannot be read.
    """
    return dict(
        store.read(
            "SELECT name, max(time) FROM audit JOIN tokens ON audit.token = name"
            " AND time >= created GROUP BY name"
        )
    )


def check_name(store: Store, name: str) -> None:
    """Check that a token of this name can be made.

    Raises:
        InputError: another token has this name, or there are too many.
    """
    names = [stored.name for stored in stored_tokens(store)]
    if name in names:
        raise InputError(
            f"there is a token {name} already. Give another name, or exchange it for a new one:"
            f"  pipeguard tokens rotate {name}"
        )
    if len(names) >= MOST_TOKENS:
        raise InputError(f"there are {MOST_TOKENS} tokens; revoke one first.")


def create_token(
    store: Store, name: str, scope: TokenScope, expires: datetime | None = None, by: str = ""
) -> str:
    """Make a token, and record in the audit who did.

    Returns:
        The token, which is stored nowhere.

    Raises:
        InputError: another token has this name, or there are too many.
    """
    token = f"{PREFIX}{secrets.token_urlsafe(TOKEN_BYTES)}"
    ends = "" if expires is None else second_text(expires.timestamp())
    with store.transaction():
        check_name(store, name)
        if not scope.decides:
            store.write(
                f"INSERT INTO tokens ({_COLUMNS}) VALUES (?, ?, '[]', '[]', '', 0, 0, '', '')"  # noqa: S608  a constant
                " ON CONFLICT DO NOTHING",
                *(_ONCE_MADE, b""),
            )
        store.write(
            f"INSERT INTO tokens ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  a constant
            name,
            sha256(token.encode()).digest(),
            json.dumps(scope.servers),
            json.dumps(scope.tools),
            scope.effect,
            scope.per_minute,
            int(scope.manages),
            now_text(),
            ends,
        )
        globs = [] if scope.decides else [*map(", ".join, (scope.servers, scope.tools))]
        words = [*globs, *scope.describe_limits(), f"until {ends}" if ends else ""]
        _record(store, "create", name, by, "; ".join(filter(None, words)))
    return token


def rotate_token(store: Store, name: str, by: str = "") -> str:
    """Exchange a token for a new one with the same scope; the old one ends at once.

    The audit has who did that.

    Raises:
        InputError: there is no such token.
    """
    token = f"{PREFIX}{secrets.token_urlsafe(TOKEN_BYTES)}"
    with store.transaction():
        check_known(store, name)
        digest = sha256(token.encode()).digest()
        store.write(
            "UPDATE tokens SET sha256 = ?, created = ? WHERE name = ?", digest, now_text(), name
        )
        _record(store, "rotate", name, by)
    return token


def revoke_token(store: Store, name: str, by: str = "") -> None:
    """End a token at once; clients still need a token, because the store remembers it.

    The audit has who did that.

    Raises:
        InputError: there is no such token.
    """
    with store.transaction():
        check_known(store, name)
        store.write("DELETE FROM tokens WHERE name = ?", name)
        _record(store, "revoke", name, by)


def revoke_subject(store: Store, sub: str, by: str = "") -> None:
    """End the sign-ins of a subject: each JWT that was issued up to now.

    The audit has who did that.
    """
    entry = decision_entry("revoke", note=f"the sign-ins of {sub}", by=by)
    entry = entry._replace(method="token", tool=f"sub:{sub}")
    dismiss(store, f"{_REVOKED}{sub}", "", entry)


def revoked_subjects(store: Store) -> dict[str, str]:
    """Since when the sign-ins of subjects no longer hold (ISO 8601, UTC), by subject."""
    rows = store.read("SELECT key, made FROM dismissals WHERE key GLOB ?", f"{_REVOKED}*")
    return {key.removeprefix(_REVOKED): made for key, made in rows}


def reset_tokens(store: Store, by: str = "") -> None:
    """End all tokens, and let clients on this machine in without one again."""
    with store.transaction():
        for token in stored_tokens(store):
            _record(store, "revoke", token.name, by, "with all others")
        store.write("DELETE FROM tokens")


def _record(store: Store, action: str, name: str, by: str, note: str = "") -> None:
    note = f"the token {name}{note and f': {note}'}"
    entry = decision_entry(action, note=note, by=by)
    record_decision(store, "", entry._replace(method="token", tool=name))


def are_required(store: Store) -> bool:
    """True from the first token for clients on, even after the last one ended or was revoked."""
    return bool(store.read("SELECT 1 FROM tokens WHERE effect <> ? LIMIT 1", DECIDE))


def check_known(store: Store, name: str) -> None:
    """Refuse the name of a token that does not exist."""
    names = [stored.name for stored in stored_tokens(store)]
    if name not in names:
        raise InputError(f"there is no token {name}. {those_there_are(names)}")


SharedTokens = tuple[Iterable[StoredToken], bool, Mapping[str, str]]


class TokenReader:
    """The current tokens: read again once another process has changed the store.

    For one thread. If the store cannot be read, a token is needed, and those last read hold until
    they end. Once one is needed, that stays so until a new reader is made: a missing store lets no
    client in.

    Args:
        store: the open store, which belongs to the reader; of a replica, a function that returns
            the tokens as of its last look at the shared store, whether one is needed, and the
            revoked subjects.
        tell: reports why it cannot be read.
    """

    def __init__(
        self, store: Store | Callable[[], SharedTokens], tell: Callable[[str], None]
    ) -> None:
        self._store = store
        self._tell = tell
        self._version = -1
        self._tokens: dict[str, StoredToken] = {}
        self._revoked: Mapping[str, str] = {}
        self._is_readable = True
        self._is_required = False

    def valid(self) -> Mapping[str, StoredToken]:
        """The tokens that have not ended, by name."""
        self._follow()
        now = now_text()
        return {name: token for name, token in self._tokens.items() if not token.is_expired(now)}

    def digests(self) -> Mapping[str, bytes]:
        """The SHA-256 of each valid token of a client, by name."""
        valid = self.valid().items()
        return {name: token.digest for name, token in valid if not token.scope.decides}

    def may_decide(self, digest: bytes) -> bool:
        """True for the SHA-256 of a valid token that opens the page."""
        return any(
            hmac.compare_digest(token.digest, digest)
            for token in self.valid().values()
            if token.scope.decides
        )

    def find_revoked(self) -> Mapping[str, str]:
        """Since when the sign-ins of subjects no longer hold (ISO 8601, UTC), by subject."""
        self._follow()
        return self._revoked

    def are_required(self) -> bool:
        """True if clients need a token, even if the store cannot be read."""
        self._follow()
        return self._is_required or not self._is_readable

    def _follow(self) -> None:
        """Read the store again if it has changed."""
        if not isinstance(self._store, Store):
            tokens, is_required, self._revoked = self._store()
            self._tokens = {token.name: token for token in tokens}
            self._is_required = self._is_required or is_required
            return
        try:
            if not self._store.is_in_place():
                self._store = self._store.reopen()
                self._version = -1
            version = self._store.change_counter()
            if version != self._version:
                self._tokens = {token.name: token for token in stored_tokens(self._store)}
                self._revoked = revoked_subjects(self._store)
                self._is_required = self._is_required or are_required(self._store)
                self._version = version
            self._is_readable = True
        except StateError as error:
            if self._is_readable:
                self._tell(f"the tokens last read hold: the store cannot be read: {error}")
            self._version = -1
            self._is_readable = False

    def close(self) -> None:
        """Close the store."""
        if isinstance(self._store, Store):
            self._store.close()
