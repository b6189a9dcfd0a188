"""One client of the gateway, as the parts that answer it share it."""

from __future__ import annotations

from typing import NamedTuple

from pipeguard.gateway.access import ScopedAccess
from pipeguard.gateway.conversation import GatewayChannel
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.legs import Legs


class GatewayClient(NamedTuple):
    """One client of the gateway.

    Attributes:
        gateway: all servers.
        conversation: the client's.
        access: of the client.
        legs: to the servers.
    """

    gateway: Gateway
    conversation: GatewayChannel
    access: ScopedAccess
    legs: Legs
