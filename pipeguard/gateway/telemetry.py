"""Traces and metrics of the gateway: what is reported, as values; no OpenTelemetry here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from time import monotonic
from typing import NamedTuple, Protocol
from zlib import compress, decompress

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeguard.firewall.finding import Direction, Verdict
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.firewall.session.remedies import is_held_verdict
from pipeguard.gateway.life import ServerState

# What a client waits for while a server works. Lists are ours, and a subscription has no end.
TRACED = frozenset({"tools/call", "resources/read", "prompts/get", "completion/complete"})
CALL_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)  # bounds of a histogram


class ReceivedCall(NamedTuple):
    """A client's call, of a tool for instance, as a trace describes it.

    Attributes:
        method: of its request.
        meta: its `_meta`, which may say what it is part of.
        tool: the tool that it names, if there is such a one; a client may send any text.
        request_id: its JSON-RPC id, as it was written.
        session: names the client's conversation; empty where each request stands alone.
        revision: of MCP.
    """

    method: str
    meta: JsonObject
    tool: str
    request_id: str
    session: str
    revision: str


class SentCall(NamedTuple):
    """A call that the gateway sends to a server.

    Attributes:
        method: of its request.
        server: the server's name.
        url: its address; empty where it was started here.
        tool: the tool's own name; empty where none is called.
    """

    method: str

    server: str
    url: str
    tool: str


class CallSpan(Protocol):
    """The span of one call, as long as the call takes."""

    def carry(self, params: JsonObject) -> JsonObject:
        """Params that tell the server that its work is part of this span."""

    def record_answer(self, answer: JsonObject) -> None:
        """Note how the call ended; `answer` has `result` or `error`."""


class Figures(NamedTuple):
    """The present state of a gateway, for gauges.

    Attributes:
        states: of each server, by name.
        clients: how many there are.
        flow_bytes: remembered of the flows of all clients.
        lost_rows: of the audit, by server.
    """

    states: Mapping[str, ServerState]
    clients: int
    flow_bytes: int
    lost_rows: Mapping[str, int]


class Telemetry(Protocol):
    """The destination of traces and metrics."""

    def receiving(self, call: ReceivedCall) -> AbstractContextManager[CallSpan]:
        """The span of a client's call: entered when it is taken, left when it is answered."""

    def sending(self, call: SentCall) -> AbstractContextManager[CallSpan]:
        """The span of the call to a server, within the span of the client's."""

    def count_call(self, server: str, outcome: str, seconds: float) -> None:
        """Count a call, as `GatewayMetrics.called`."""

    def count_verdict(self, server: str, verdict: Verdict) -> None:
        """Count a message, as `GatewayMetrics.judged`."""

    def watch(self, figures: Callable[[], Figures]) -> None:
        """Report what a gateway knows of itself, too; asked on its loop."""

    def close(self) -> None:
        """Send what is left; may take some seconds."""


class _NoSpan(AbstractContextManager[CallSpan]):
    """A call that nobody traces: what it carries goes on as it came."""

    def __enter__(self) -> CallSpan:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def carry(self, params: JsonObject) -> JsonObject:
        return params

    def record_answer(self, answer: JsonObject) -> None:
        pass


NO_SPAN = _NoSpan()


class Signals(NamedTuple):
    """The exporters: the names of exporters, `none` for nothing."""

    traces: str
    metrics: str

    def __bool__(self) -> bool:
        return self != Signals("none", "none")


# --- metrics ----------------------------------------------------------------------------
# Counts what goes through the gateway, for Prometheus.


def counted_action(verdict: Verdict) -> str:
    """The action by which a message is counted; `held` if definitions only wait."""
    return "held" if is_held_verdict(verdict) else verdict.action.name.lower()


PAST_STEP_SECONDS, PAST_FIGURES = 5.0, 13  # a minute
PAST_AGE = "pipeguard_figures_age_seconds"  # of figures that are not those of now


class GatewayMetrics:
    """All figures of one gateway.

    Args:
        figures: returns what the gateway knows of itself.
    """

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._registry = registry = CollectorRegistry()
        self._calls = Histogram(
            "pipeguard_call_seconds",
            "Calls of tools, from the client's request to the answer.",
            ("server", "outcome"),
            buckets=CALL_SECONDS,
            registry=registry,
        )
        self._verdicts = Counter(
            "pipeguard_verdicts",
            "Messages to and from servers, by what was done about them.",
            ("server", "direction", "action"),
            registry=registry,
        )
        self._bytes = Counter(
            "pipeguard_bytes",
            "Bytes of messages to and from servers.",
            ("server", "direction"),
            registry=registry,
        )
        registry.register(_Gauges(figures))
        self._past: deque[tuple[float, bytes]] = deque(maxlen=PAST_FIGURES)
        self.remember()

    def count_call(self, server: str, outcome: str, seconds: float) -> None:
        """Count a call of a tool.

        Args:
            server: its server.
            outcome: `ok`, `error` or `unavailable`.
            seconds: that it took.
        """
        self._calls.labels(server, outcome).observe(seconds)

    def count_verdict(self, server: str, verdict: Verdict) -> None:
        """Count a message."""
        direction = "to-server" if verdict.direction is Direction.TO_SERVER else "to-client"
        self._verdicts.labels(server, direction, counted_action(verdict)).inc()
        self._bytes.labels(server, direction).inc(len(verdict.frame))

    def text(self) -> bytes:
        """All figures, in Prometheus' text format."""
        return generate_latest(self._registry)

    def remember(self) -> None:
        """Keep the figures of now for a minute, if the last that are kept are old enough."""
        now = monotonic()
        if not self._past or now >= self._past[-1][0] + PAST_STEP_SECONDS:
            self._past.append((now, compress(self.text())))

    def past_text(self, seconds_ago: float) -> bytes:
        """The figures some seconds ago, or the nearest that are kept, and how old those are."""
        now = monotonic()
        time, text = min(self._past, key=lambda past: abs(now - seconds_ago - past[0]))
        return decompress(text) + f"{PAST_AGE} {now - time:.3f}\n".encode()


class _Gauges(Collector):
    """A value that is computed when it is read."""

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures

    def describe(self) -> Iterable[Metric]:
        return ()  # the names are in `collect`; nothing is looked up before

    def collect(self) -> Iterator[Metric]:
        figures = self._figures()
        up = GaugeMetricFamily(
            "pipeguard_server_up", "1 while it can be called.", labels=["server"]
        )
        tools = GaugeMetricFamily(
            "pipeguard_tools", "Tools that agents may find.", labels=["server"]
        )
        waiting = GaugeMetricFamily(
            "pipeguard_definitions_waiting", "Definitions to approve.", labels=["server"]
        )
        for name, state in figures.states.items():
            up.add_metric([name], float(state.is_up))
            tools.add_metric([name], state.tools)
            waiting.add_metric([name], state.waiting)
        lost = CounterMetricFamily(
            "pipeguard_audit_rows_lost", "Rows missing from the audit.", labels=["server"]
        )
        for name, rows in figures.lost_rows.items():
            lost.add_metric([name], rows)
        yield from (up, tools, waiting, lost)
        for name, description, value in (
            ("pipeguard_clients", "Clients now.", figures.clients),
            ("pipeguard_flow_bytes", "Remembered of clients' flows.", figures.flow_bytes),
        ):
            yield GaugeMetricFamily(name, description, value=value)
