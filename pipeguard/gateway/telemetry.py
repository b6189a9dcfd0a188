"""Traces and metrics of the gateway when they are switched off; no OpenTelemetry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from pipeguard.firewall.protocol.json_values import JsonObject

if TYPE_CHECKING:
    from pipeguard.firewall.finding import Verdict
    from pipeguard.gateway.client_request import ClientRequest

# Methods whose work a server does. Lists are ours, and a subscription has no end.
TRACED = frozenset({"tools/call", "resources/read", "prompts/get", "completion/complete"})
Figures = Mapping[str, Mapping[str, float]]  # by the names of gauges and by server, or ""
NONE = "none"  # the exporter of a disabled signal


class CallSpan(AbstractContextManager["CallSpan"]):
    """The span of one call, as long as the call takes; this one traces nothing."""

    def __exit__(self, *raised: object) -> None:
        """End the span."""

    def carry(self, params: JsonObject) -> JsonObject:
        """Params that make the server's work part of this span."""
        return params

    def record_answer(self, answer: JsonObject) -> None:
        """Note how the call ended; `answer` has `result` or `error`."""


NO_SPAN = CallSpan()


class Telemetry:
    """The destination of traces and metrics; this one discards them.

    Attributes:
        has_text: True if the figures are to be read in Prometheus' text format.
    """

    has_text = False

    def receiving(
        self, request: ClientRequest, find_tool: Callable[[ClientRequest], str], session: str
    ) -> CallSpan:
        """The span of a client's call: entered when it is taken, left when it is answered.

        Args:
            request: of the client.
            find_tool: returns the name of the tool that it names; empty if there is no such tool.
            session: names the client's conversation.
        """
        return NO_SPAN

    def sending(self, method: str, server: str, url: str, tool: str) -> CallSpan:
        """The span of the call to a server, within the span of the client's.

        Args:
            method: of the request.
            server: the server's name.
            url: its address; empty if it was started here.
            tool: the tool's own name; empty for other methods.
        """
        return NO_SPAN

    def count_call(self, server: str, outcome: str, seconds: float) -> None:
        """Count a call of a server's tool: `ok`, `error` or `unavailable`."""

    def count_verdict(self, server: str, verdict: Verdict) -> None:
        """Count a message to or from a server; as `held` if definitions only wait."""

    def watch(self, figures: Callable[[], Figures]) -> None:
        """Also report a gateway's own figures; read on its loop."""

    async def text(self) -> bytes:
        """All figures, in Prometheus' text format."""
        return b""

    def close(self) -> None:
        """Send the remaining data, within a few seconds."""


NO_TELEMETRY = Telemetry()
