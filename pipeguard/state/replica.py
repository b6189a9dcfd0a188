"""The process as one of several replicas of the gateway; most processes are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeguard.state.postgres.link import Link


class Replica:
    """This process.

    Attributes:
        link: to the others; None if the process is no replica.
    """

    link: Link | None = None


REPLICA = Replica()
