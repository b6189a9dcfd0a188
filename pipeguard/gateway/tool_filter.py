"""The tools that a search may find; apart from the search, which few gateways need at once."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple


class Filter(NamedTuple):
    """The tools that may be found.

    Attributes:
        servers: names of servers; None for all.
        effects: `read`, `write`, `destructive`; None for all.
        keys: of tools; None for all.
    """

    servers: Collection[str] | None = None
    effects: Collection[str] | None = None
    keys: Collection[int] | None = None
