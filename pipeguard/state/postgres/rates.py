"""The calls of a minute, counted for all replicas by the database's clock.

A call counts with those of the minute before it, as far as that is no minute ago.
One that is refused does not count: a client that tries again and again gets its calls a minute.
"""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeguard.state.postgres.database import PostgresStore
    from pipeguard.state.postgres.link import Link
    from pipeguard.state.tokens import TokenScope

_COUNT = """WITH clock AS (SELECT extract(epoch FROM clock_timestamp())::float / 60 AS minutes),
    counted AS (INSERT INTO rates AS known (who, minute, calls, before)
        SELECT ?, floor(minutes)::bigint, 1, 0 FROM clock
        ON CONFLICT (who) DO UPDATE SET minute = excluded.minute,
            calls = CASE WHEN known.minute = excluded.minute THEN known.calls + 1 ELSE 1 END,
            before = CASE known.minute WHEN excluded.minute THEN known.before
                WHEN excluded.minute - 1 THEN known.calls ELSE 0 END
        WHERE (SELECT CASE known.minute WHEN excluded.minute
                THEN known.calls + known.before * (1 - (minutes - floor(minutes)))
                WHEN excluded.minute - 1 THEN known.calls * (1 - (minutes - floor(minutes)))
                ELSE 0 END FROM clock) + 1 <= ?
        RETURNING 1)
    SELECT EXISTS (SELECT FROM counted), 60 * (1 - (minutes - floor(minutes))) FROM clock"""


async def seconds_to_wait(link: Link, who: str, scope: TokenScope) -> float:
    """Count a call at all replicas; if there were too many in a minute, return the wait.

    Args:
        link: to the store that replicas share. While it is away, nothing is counted.
        who: the token or subject that calls.
        scope: that limits it.
    """
    key = sha256(repr((who, scope)).encode()).hexdigest()
    counting = link.do(partial(count_call, key, scope.per_minute), is_kept=False)
    is_counted, wait_seconds = await link.settle(counting) or (True, 0.0)
    return 0.0 if is_counted else max(wait_seconds, 1.0)


def count_call(key: str, per_minute: int, store: PostgresStore) -> tuple[bool, float]:
    """Count a call unless there were too many; whether it counts, and the seconds to wait."""
    ((is_counted, left_seconds),) = store.read(_COUNT, key, per_minute)
    return is_counted, left_seconds
