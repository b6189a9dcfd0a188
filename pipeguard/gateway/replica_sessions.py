"""The sessions of all replicas, by the link to their store."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pipeguard.state.postgres.homes import ENDED, find_home, put_home

if TYPE_CHECKING:
    from pipeguard.state.postgres.link import Link


class ReplicaSessions:
    """The sessions of all replicas, as the transports see them.

    A session belongs to no replica, or to one run of it: a restarted one has forgotten it.

    Args:
        link: to the store that replicas share. While it is away, sessions continue.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self.seal, self.open = link.keys.seal, link.keys.open

    def has_ended(self, session: bytes) -> bool:
        """True if it ended, or belongs to another replica, as far as is known here."""
        replica = self._link.shared.sessions.get(session)
        return replica is not None and replica != self._link.name

    async def is_free(self, session: bytes) -> bool:
        """True if it did not end, and belongs to no replica."""
        finding = self._link.do(partial(find_home, session=session), is_kept=False)
        return await self._link.settle(finding) is None

    async def claim(self, session: bytes) -> bool:
        """Let it belong to this replica; False if it is over."""
        return await self._put(session, self._link.name) in (None, self._link.name)

    async def end(self, session: bytes) -> None:
        """End it at all replicas."""
        await self._put(session, ENDED)

    async def _put(self, session: bytes, replica: str) -> str | None:
        putting = self._link.do(partial(put_home, session=session, replica=replica))
        return await self._link.settle(putting)
