"""How a server of the gateway is, as a value."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """How a server is."""

    STARTING = "starting"
    READY = "ready"
    DOWN = "down"  # it is started again after a while
    STOPPED = "stopped"


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
