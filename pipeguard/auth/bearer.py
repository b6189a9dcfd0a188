"""The `Authorization` header for one server, renewed before it expires, without asking a person.

It loads as little as possible: a token that is valid for another hour needs neither the SDK nor an
HTTP client. One Bearer belongs to one event loop.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import import_module

from pipeguard.auth.server import SHOWN_CHARS, canonical, login_command
from pipeguard.auth.store import LoginStore, Secrets, StoredLogin
from pipeguard.errors import AuthError, LoginNeededError
from pipeguard.installation import require_extra
from pipeguard.secrets_in_use import IN_USE
from pipeguard.transports.http import challenge
from pipeguard.transports.http.challenge import FORBIDDEN, SCOPE_MISSING, UNAUTHORIZED
from pipeguard.unicode.display import show

LOOK_SECONDS = 1.0  # how soon a login or logout in another process is noticed
AHEAD_SECONDS = 60.0  # before it expires a token is renewed, or a tenth of its life if less
NEW_SECONDS = 10.0  # a token refused this soon after it was issued is not worth renewing
PAUSE_SECONDS = 30.0  # until another request to an authorization server that gave no answer


class Bearer:
    """The value of `Authorization` for one server and no other (RFC 6750, 2.1).

    Attributes:
        server: the canonical URI of the server that the tokens are for.
    """

    def __init__(
        self, server: str, store: LoginStore, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Name the server; nothing is read yet.

        Args:
            server: its URL.
            store: the stored logins.
            clock: seconds since the epoch.

        Raises:
            InputError: the URL is not a server's, or tokens would be sent unencrypted.
        """
        self.server = canonical(server)
        self._store = store
        self._clock = clock
        self._login: StoredLogin | None = None
        self._token = ""
        self._stamp: object = None
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()
        self._not_before = float("-inf")
        self._renewal: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"Bearer({self.server!r})"

    async def header(self) -> str | None:
        """The value of the Authorization header to send now, or None without a login.

        A token that is about to expire is renewed first, once for all concurrent callers. If it
        cannot be renewed, it is sent as it is: the server's clock decides.

        Raises:
            LoginNeededError: it expired, and only a person can get another one.
            AuthError: it expired, and the authorization server gives no answer.
            StateError: the stored login cannot be read.
        """
        now = self._clock()
        if not self._has_looked(now):
            async with self._looking:
                # Another caller may have looked while this one waited.
                if not self._has_looked(now):
                    await self._look()
        login = self._login
        if login is not None and self._is_due(login, now):
            try:
                await self._renew(self._token)
            except AuthError:
                if login.expires_at is None or login.expires_at <= now:
                    raise
                self._not_before = now + PAUSE_SECONDS  # it is valid for a moment yet
        return f"Bearer {self._token}" if self._token else None

    async def answer_challenge(
        self, status: int, www_authenticate: str, sent: str | None = None
    ) -> bool:
        """React to an answer with 401 or 403, as far as that is possible without a person.

        Args:
            status: the answer's status.
            www_authenticate: its field of that name, several joined by a comma.
            sent: the header that was refused; by default the last result of `header`. To be given
                if requests overlap: this one may have been sent before a renewal.

        Returns:
            True if the request may be sent again, once, with a new header. False if the answer is
            about something else, to be forwarded as it is.

        Raises:
            LoginNeededError: a person is needed; the message has the command.
            AuthError: the authorization server gives no answer.
            StateError: the stored login cannot be read or written.
        """
        demand = challenge.read(IN_USE.mask(www_authenticate))
        if status == FORBIDDEN and demand.error != SCOPE_MISSING:
            return False
        if status not in (UNAUTHORIZED, FORBIDDEN):
            return False
        refused = self._token if sent is None else sent.removeprefix("Bearer ")
        async with self._looking:
            await self._look()
        if self._token and self._token != refused:
            return True  # it was renewed in the meantime, or a person logged in or granted more
        if status == FORBIDDEN:
            await self._remember_scope(demand.scope)
        login = self._login
        if demand.is_gateway:
            raise LoginNeededError(
                f"{self.server} is a PipeGuard gateway, which wants a token (--bearer-env VARIABLE)"
            )
        if login is None:
            raise self._make_error("asks for a login")
        is_new = 0 <= self._clock() - login.obtained_at < NEW_SECONDS
        if is_new and sent is None:
            return True  # the refused token may be the one before this
        if is_new or not login.has_refresh:
            raise self._make_error("refuses the token of the last login")
        await self._renew(refused)
        if self._token == refused:  # some servers issue the same token until it expires
            raise self._make_error("refuses the token of the last login")
        return True

    def _has_looked(self, now: float) -> bool:
        return -LOOK_SECONDS < now - self._looked_at < LOOK_SECONDS

    def _is_due(self, login: StoredLogin, now: float) -> bool:
        if not login.has_refresh or login.expires_at is None or now < self._not_before:
            return False
        life = login.expires_at - login.obtained_at
        return now >= login.expires_at - min(AHEAD_SECONDS, life / 10)

    async def _look(self) -> None:
        """Read the stored login if it has changed."""
        stamp = self._store.stamp(self.server)
        if stamp != self._stamp:
            self._take(await asyncio.to_thread(self._store.read, self.server))
            self._stamp = stamp
        self._looked_at = self._clock()

    def _take(self, stored: tuple[StoredLogin, Secrets] | None) -> None:
        self._login = stored[0] if stored else None
        self._token = stored[1].access_token if stored else ""
        if stored is not None:
            IN_USE.add(stored[1].all())
        self._not_before = float("-inf")

    async def _renew(self, refused: str) -> None:
        """Get a token other than this one; concurrent callers wait for the same renewal."""
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._run_renewal(refused), name="renewal")
            self._renewal.add_done_callback(self._end_renewal)
        # A refresh token works once, so a cancelled caller must not cancel the renewal.
        await asyncio.shield(self._renewal)

    def _end_renewal(self, renewal: asyncio.Task[None]) -> None:
        self._renewal = None
        if not renewal.cancelled():
            renewal.exception()  # retrieved, even if no caller waits any more

    async def _run_renewal(self, refused: str) -> None:
        async with self._lock():
            stored = await asyncio.to_thread(self._store.read, self.server)
            if stored is None:
                self._take(None)
                raise self._make_error("asks for a login")
            login, secrets = stored
            if secrets.access_token == refused and login.has_refresh:
                require_extra("oauth", "renewals of a login", AuthError)
                # The SDK takes half a second to load, and frames must not wait.
                tokens = await asyncio.to_thread(import_module, "pipeguard.auth.tokens")
                login, secrets = await tokens.renew(login, secrets)
                await asyncio.to_thread(self._store.save, login, secrets)
                login = replace(login, has_refresh=bool(secrets.refresh_token))
            self._take((login, secrets))
            self._stamp = self._store.stamp(self.server)
        if secrets.access_token == refused and not login.has_refresh:
            raise self._make_error("needs a new login, because the last one has expired")

    async def _remember_scope(self, scope: str) -> None:
        """Store the scopes that the server asks for, for the next login to request (step-up).

        Raises:
            LoginNeededError: always; only a person can grant them.
        """
        async with self._lock():
            stored = await asyncio.to_thread(self._store.read, self.server)
            if stored is not None and not set(scope.split()) <= set(stored[0].wanted.split()):
                login = replace(stored[0], wanted=challenge.join(stored[0].wanted, scope))
                await asyncio.to_thread(self._store.save, login, stored[1])
        wants = f": {show(scope, SHOWN_CHARS)}" if scope else ""
        raise self._make_error(f"asks for more than the last login granted{wants}")

    def _make_error(self, what: str) -> LoginNeededError:
        ways = f"Log in:  {login_command(self.server)}\n  Or with a token:  --bearer-env VARIABLE"
        return LoginNeededError(f"{self.server} {what}.\n  {ways}")

    @asynccontextmanager
    async def _lock(self) -> AsyncIterator[None]:
        """Lock out other processes, without blocking this one's event loop."""
        lock = self._store.lock(self.server)
        await asyncio.to_thread(lock.__enter__)
        try:
            yield
        finally:
            lock.__exit__(None, None, None)
