"""Opens the spans of calls: what all clients of a gateway share for that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from pipeguard.gateway.client_request import ClientRequest
from pipeguard.gateway.telemetry import CallSpan


class TracedHub(Protocol):
    """Traces calls, where somebody wants that."""

    def receiving(
        self, request: ClientRequest, tool: Callable[[ClientRequest], str], conversation: str
    ) -> AbstractContextManager[CallSpan]:
        """The span of a client's call.

        Args:
            request: of the client.
            tool: returns the name of the tool that it names; empty where there is none of it.
            conversation: names the client's conversation.
        """

    def sending(self, server: str, method: str, tool: str = "") -> AbstractContextManager[CallSpan]:
        """The span of the call to a server.

        Args:
            server: its name.
            method: of the request.
            tool: the server's name of the tool that is called, if any.
        """
