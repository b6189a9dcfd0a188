"""The `Authorization` header for one server, renewed before it ends; asks no person anything.

What it needs is read when it is needed: a token that is good for another hour loads neither the SDK
nor an HTTP client. One Bearer belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from pipeguard.auth import challenge
from pipeguard.auth.server import SHOWN_CHARS, canonical, login_command
from pipeguard.core.unicode.display import shown
from pipeguard.errors import AuthError, LoginNeededError
from pipeguard.secrets_in_use import IN_USE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pipeguard.auth.store import LoginStore, Secrets, StoredLogin

LOOK_SECONDS = 1.0  # how soon a login or logout in another process is seen
AHEAD_SECONDS = 60.0  # before its end a token is renewed, or a tenth of its life if that is less
# A token that is refused so soon after it came will not get better by another one.
NEW_SECONDS = 10.0
PAUSE_SECONDS = 30.0  # until an authorization server that gave no answer is asked again
UNAUTHORIZED, FORBIDDEN = 401, 403


class Bearer:
    """What to send to one server as `Authorization`, and to no other (RFC 6750, 2.1).

    Attributes:
        server: the canonical URI of the server that the tokens are for.
    """

    def __init__(
        self, server: str, store: LoginStore, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Name the server; nothing is read yet.

        Args:
            server: its URL.
            store: where logins are kept.
            clock: seconds since the epoch.

        Raises:
            InputError: that is no URL of a server, or tokens would go there in clear.
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
        """The header's value for a request that is sent now; None where nobody logged in.

        A token that is about to end is renewed first, once for all who ask at the time. One that
        cannot be renewed is sent as it is: the server's clock decides.

        Raises:
            LoginNeededError: it ended, and only a person can get another one.
            AuthError: it ended, and the authorization server gives no answer.
            StateError: what was kept cannot be read.
        """
        now = self._clock()
        if not self._has_looked(now):
            async with self._looking:
                if not self._has_looked(now):  # somebody did while this one waited
                    await self._look()
        login = self._login
        if login is not None and self._is_due(login, now):
            try:
                await self._renew(self._token)
            except AuthError:
                if login.expires_at is None or login.expires_at <= now:
                    raise
                self._not_before = now + PAUSE_SECONDS  # it is good for a moment yet
        return f"Bearer {self._token}" if self._token else None

    async def challenged(self, status: int, www_authenticate: str, sent: str | None = None) -> bool:
        """Do what can be done about an answer with 401 or 403 without a person.

        Args:
            status: of the answer.
            www_authenticate: its field of that name, several joined by a comma.
            sent: the header that was refused; without it, the last one that `header` gave. Give
                it where several requests are under way: one may have been sent before a renewal.

        Returns:
            True where the request may be sent again, once, with a new header. False where the
            answer is about something else, and goes on as it is.

        Raises:
            LoginNeededError: a person is needed; the message says for which command.
            AuthError: the authorization server gives no answer.
            StateError: what was kept cannot be read or written.
        """
        asked = challenge.read(IN_USE.masked(www_authenticate))
        if status == FORBIDDEN and asked.error != "insufficient_scope":
            return False
        if status not in (UNAUTHORIZED, FORBIDDEN):
            return False
        refused = self._token if sent is None else sent.removeprefix("Bearer ")
        async with self._looking:
            await self._look()
        if self._token and self._token != refused:
            return True  # somebody renewed it, logged in or stepped up since
        if status == FORBIDDEN:
            await self._want(asked.scope)
        login = self._login
        if login is None:
            raise self._needed("asks for a login")
        is_new = 0 <= self._clock() - login.obtained_at < NEW_SECONDS
        if is_new and sent is None:
            return True  # it may have been the token before this one
        if is_new or not login.has_refresh:
            raise self._needed("refuses the token of the last login")
        await self._renew(refused)
        if self._token == refused:  # some give the same again until it ends
            raise self._needed("refuses the token of the last login")
        return True

    def _has_looked(self, now: float) -> bool:
        return -LOOK_SECONDS < now - self._looked_at < LOOK_SECONDS

    def _is_due(self, login: StoredLogin, now: float) -> bool:
        if not login.has_refresh or login.expires_at is None or now < self._not_before:
            return False
        life = login.expires_at - login.obtained_at
        return now >= login.expires_at - min(AHEAD_SECONDS, life / 10)

    async def _look(self) -> None:
        """See what was kept, if it is another than the last time."""
        stamp = self._store.stamp(self.server)
        if stamp != self._stamp:
            self._take(await asyncio.to_thread(self._store.read, self.server))
            self._stamp = stamp
        self._looked_at = self._clock()

    def _take(self, found: tuple[StoredLogin, Secrets] | None) -> None:
        self._login = found[0] if found else None
        self._token = found[1].access_token if found else ""
        if found is not None:
            IN_USE.add(found[1].all())
        self._not_before = float("-inf")

    async def _renew(self, refused: str) -> None:
        """Get another token than this one. Who asks meanwhile waits for the same."""
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renewed(refused), name="renewal")
            self._renewal.add_done_callback(self._over)
        # A refresh token is good for one use: who gives up waiting must not lose what came for it.
        await asyncio.shield(self._renewal)

    def _over(self, renewal: asyncio.Task[None]) -> None:
        self._renewal = None
        if not renewal.cancelled():
            renewal.exception()  # it is known, also where nobody waits any more

    async def _renewed(self, refused: str) -> None:
        async with self._alone():
            found = await asyncio.to_thread(self._store.read, self.server)
            if found is None:
                self._take(None)
                raise self._needed("asks for a login")
            login, secrets = found
            if secrets.access_token == refused and login.has_refresh:
                # The SDK takes half a second to load, in which frames go on.
                flow = await asyncio.to_thread(import_module, "pipeguard.auth.flow")
                login, secrets = await flow.renew(login, secrets)
                await asyncio.to_thread(self._store.save, login, secrets)
                login = replace(login, has_refresh=bool(secrets.refresh_token))
            self._take((login, secrets))
            self._stamp = self._store.stamp(self.server)
        if secrets.access_token == refused and not login.has_refresh:
            raise self._needed("takes a login that has ended")

    async def _want(self, scope: str) -> None:
        """Keep what the server asks for, so that the next login asks for it as well (step-up).

        Raises:
            LoginNeededError: always; only a person can grant it.
        """
        async with self._alone():
            found = await asyncio.to_thread(self._store.read, self.server)
            if found is not None and not set(scope.split()) <= set(found[0].wanted.split()):
                login = replace(found[0], wanted=challenge.joined(found[0].wanted, scope))
                await asyncio.to_thread(self._store.save, login, found[1])
        wants = f": {shown(scope, SHOWN_CHARS)}" if scope else ""
        raise self._needed(f"asks for more than the last login granted{wants}")

    def _needed(self, what: str) -> LoginNeededError:
        return LoginNeededError(f"{self.server} {what}.\n  Log in:  {login_command(self.server)}")

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Keep other processes out, without holding up this one."""
        lock = self._store.lock(self.server)
        await asyncio.to_thread(lock.__enter__)
        try:
            yield
        finally:
            lock.__exit__(None, None, None)
