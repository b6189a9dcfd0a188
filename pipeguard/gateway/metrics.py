"""Counts what goes through the gateway, for Prometheus.

Names follow prometheus.io/docs/practices/naming. No label is a text that a server or a client
chose: servers are named by the user, outcomes and actions are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeguard.firewall.finding import Direction, Verdict
from pipeguard.gateway.telemetry import CALL_SECONDS, Figures


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

    def called(self, server: str, outcome: str, seconds: float) -> None:
        """Count a call of a tool.

        Args:
            server: its server.
            outcome: `ok`, `error` or `unavailable`.
            seconds: that it took.
        """
        self._calls.labels(server, outcome).observe(seconds)

    def judged(self, server: str, verdict: Verdict) -> None:
        """Count a message."""
        direction = "to-server" if verdict.direction is Direction.TO_SERVER else "to-client"
        self._verdicts.labels(server, direction, verdict.action.name.lower()).inc()
        self._bytes.labels(server, direction).inc(len(verdict.frame))

    def text(self) -> bytes:
        """All figures, in Prometheus' text format."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    """What is looked up when it is asked for."""

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
        yield from (up, tools, waiting)
        for name, description, value in (
            ("pipeguard_clients", "Clients now.", figures.clients),
            ("pipeguard_flow_bytes", "Remembered of clients' flows.", figures.flow_bytes),
        ):
            yield GaugeMetricFamily(name, description, value=value)
