"""How a server of the gateway is, as a value."""

from __future__ import annotations

from typing import NamedTuple


class ServerState(NamedTuple):
    """How a server is when it is asked.

    Attributes:
        is_up: it can be called.
        tools: that agents may find.
        waiting: definitions that wait for approval.
    """

    is_up: bool
    tools: int
    waiting: int
