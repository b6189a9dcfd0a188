"""The state of a server of the gateway, as a value."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """The state of a server."""

    STARTING = "starting"
    READY = "ready"
    ASLEEP = "asleep"  # it is started when it is needed
    DOWN = "down"  # it is started again after a while
    FAILING = "failing"  # down, several times in a row: its circuit is open
    STOPPED = "stopped"


class ServerState(NamedTuple):
    """The state of a server when it is asked.

    Attributes:
        is_up: it can be called, once it is started where it is asleep.
        tools: that agents may find.
        waiting: definitions that wait for approval.
    """

    is_up: bool
    tools: int
    waiting: int


def definitions_wait(count: int) -> str:
    """Say how many definitions wait."""
    return "1 definition waits" if count == 1 else f"{count} definitions wait"
