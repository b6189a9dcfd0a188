"""Sessions that ended, or that belong to one replica, in the store that replicas share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeguard.state.postgres.database import PostgresStore

ENDED = ""  # the home of a session that ended
# A day longer than an id is valid, because the clocks of replicas differ.
_DROP_OLD = "DELETE FROM sessions WHERE made < now() - interval '8 days'"


def find_home(store: PostgresStore, session: bytes) -> str | None:
    """The home of a session; None if any replica may continue it."""
    rows = store.read("SELECT home FROM sessions WHERE digest = ?", session)
    return rows[0][0] if rows else None


def put_home(store: PostgresStore, session: bytes, replica: str) -> str:
    """Note where a session goes on, or that it ended; its home from now on.

    The first home stays until the end.
    """
    store.write(_DROP_OLD)
    ((kept,),) = store.read(
        "INSERT INTO sessions (digest, home) VALUES (?, ?) ON CONFLICT (digest) DO UPDATE"
        " SET home = CASE WHEN excluded.home = '' THEN '' ELSE sessions.home END, made = now()"
        " RETURNING home",
        session,
        replica,
    )
    return str(kept)
