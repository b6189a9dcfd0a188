"""Traces and metrics through the official SDK of OpenTelemetry, exported as the environment says.

Spans follow the semantic conventions for MCP (open-telemetry/semantic-conventions-genai,
docs/gen-ai/mcp.md). No attribute has an argument, a result, an error message or a session id, which
grants access. Trace context is read from and written to `_meta` (SEP-414).
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from importlib.metadata import entry_points
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import context, propagate, trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from pipeguard.firewall.finding import Verdict
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.firewall.session.remedies import is_held_verdict
from pipeguard.gateway.client_request import ClientRequest, Unavailable
from pipeguard.gateway.eras import find_meta
from pipeguard.gateway.telemetry import NO_SPAN, NONE, CallSpan, Figures, Telemetry
from pipeguard.log import Log
from pipeguard.version import VERSION

NAME = "pipeguard"
CALL = "tools/call"
CLOSE_SECONDS = 5.0  # for the last batch, even if the collector does not answer
SNAPSHOT_SECONDS = 1.0  # for the loop to say how the servers are
QUIET_SECONDS = 60.0  # between two lines about a collector that cannot be reached
MOST_CHARS = 200  # of a tool's name or an id: a peer chooses those
DEFAULT_PROTOCOL = "http/protobuf"
_EXPORTERS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
PROMETHEUS = "prometheus"  # the exporter of metrics that is read at /metrics
CALL_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)  # bounds of a histogram
LOST_ROWS = "audit.rows.lost"
GAUGES = {  # and one counter: the gateway's own figures (`Gateway.figures`)
    "server.up": "1 while it can be called.",
    "tools": "Tools that agents may find.",
    "definitions.waiting": "Definitions to approve.",
    LOST_ROWS: "Rows missing from the audit.",
    "clients": "Clients now.",
    "flow.bytes": "Remembered of clients' flows.",
}

Attributes = dict[str, str | int]


class OpenTelemetry(Telemetry):
    """Traces and metrics of one gateway. To be made on the loop where it lives.

    Args:
        traces: the names of their exporters, as the environment writes them.
        metrics: the same.
        environ: of the process; the SDK reads its own variables.
        log: gets the exporters' complaints.
        transport: of the clients: `pipe` or `tcp`.

    Raises:
        ImportError: an exporter is not installed.
        ValueError: a variable is wrong.
    """

    def __init__(
        self, traces: str, metrics: str, environ: Mapping[str, str], log: Log, transport: str
    ) -> None:
        logger = logging.getLogger("opentelemetry")  # the SDK's complaints
        logger.handlers = [_LogLines(log)]
        logger.propagate = False
        resource = _resource(environ)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._tracers = None
        if traces != NONE:
            self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
            for exporter in _exporters("traces", traces, environ):
                self._tracers.add_span_processor(BatchSpanProcessor(exporter))
            self._tracer = self._tracers.get_tracer(NAME, VERSION)
        self._registry = CollectorRegistry()
        readers: list[MetricReader] = []
        self.has_text = PROMETHEUS in map(str.strip, metrics.split(","))
        if self.has_text:
            text = PrometheusMetricReader(scope_info_enabled=False, registry=self._registry)
            readers.append(text)
        exporters = _exporters("metrics", metrics, environ)
        readers += map(PeriodicExportingMetricReader, exporters)
        self._meters = MeterProvider(readers, resource, shutdown_on_exit=False)
        self._meter = meter = self._meters.get_meter(NAME, VERSION)
        self._calls = meter.create_histogram(
            "pipeguard.call",
            "s",
            "Calls of tools, from the client's request to the answer.",
            explicit_bucket_boundaries_advisory=CALL_SECONDS,
        )
        self._verdicts = meter.create_counter(
            "pipeguard.verdicts",
            description="Messages to and from servers, by what was done about them.",
        )
        self._bytes = meter.create_counter(
            "pipeguard.bytes", "By", "Bytes of messages to and from servers."
        )

    # --- spans ----------------------------------------------------------------------------

    def receiving(
        self, request: ClientRequest, find_tool: Callable[[ClientRequest], str], session: str
    ) -> CallSpan:
        """The span of a client's call, within the trace that its `_meta` names."""
        if self._tracers is None:
            return NO_SPAN
        # Only the name of a tool that there is: a client may send any text.
        attributes = _call_attributes(request.method, find_tool(request))
        attributes["network.transport"] = self._transport
        attributes["mcp.protocol.version"] = request.opening.revision
        attributes["jsonrpc.request.id"] = request.token.strip('"')[:MOST_CHARS]
        if not request.opening.is_stateless:
            attributes["mcp.session.id"] = session
        fields, meta = propagate.get_global_textmap().fields, find_meta(request.params)
        # A number is a str, too: Number.
        carrier = {field: str(meta[field]) for field in fields if type(meta.get(field)) is str}
        return _Span(self._tracer, SpanKind.SERVER, attributes, propagate.extract(carrier))

    def sending(self, method: str, server: str, url: str, tool: str) -> CallSpan:
        """The span of the call to a server, within that of the client's call."""
        if self._tracers is None:
            return NO_SPAN
        attributes = _call_attributes(method, tool)
        attributes["pipeguard.server"] = server
        attributes["network.transport"] = "tcp" if url else "pipe"
        with suppress(ValueError):  # a port that is none
            address = urlsplit(url)
            if address.hostname:
                attributes["server.address"] = address.hostname
                attributes["server.port"] = address.port or (443 if "s:" in url[:6] else 80)
        return _Span(self._tracer, SpanKind.CLIENT, attributes, context.get_current())

    # --- figures ----------------------------------------------------------------------------

    def count_call(self, server: str, outcome: str, seconds: float) -> None:
        """Count a call of a server's tool: `ok`, `error` or `unavailable`."""
        self._calls.record(seconds, {"server": server, "outcome": outcome})

    def count_verdict(self, server: str, verdict: Verdict) -> None:
        """Count a message; as `held` if definitions only wait."""
        place = {"server": server, "direction": verdict.direction.value}
        action = "held" if is_held_verdict(verdict) else verdict.action.name.lower()
        self._verdicts.add(1, {**place, "action": action})
        self._bytes.add(len(verdict.frame), place)

    def watch(self, figures: Callable[[], Figures]) -> None:
        """Also report a gateway's own figures; read on its loop."""

        def observing(name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
            return lambda _options: [
                Observation(value, {"server": server} if server else {})
                for server, value in self._read_on_loop(figures)[name].items()
            ]

        for name, description in GAUGES.items():
            meter = self._meter
            is_counter = name == LOST_ROWS
            create = (
                meter.create_observable_counter if is_counter else meter.create_observable_gauge
            )
            create(f"{NAME}.{name}", [observing(name)], description=description)

    async def text(self) -> bytes:
        """All figures, in Prometheus' text format."""
        return await asyncio.to_thread(generate_latest, self._registry)

    def _read_on_loop(self, figures: Callable[[], Figures]) -> Figures:
        """Read a gateway's figures on its loop, from the exporter's thread."""
        asked: Future[Figures] = Future()
        self._loop.call_soon_threadsafe(lambda: asked.set_result(figures()))
        return asked.result(SNAPSHOT_SECONDS)

    def close(self) -> None:
        """Send the remaining data, within a few seconds."""
        ending = threading.Thread(target=self._shut_down, name="telemetry", daemon=True)
        ending.start()
        ending.join(CLOSE_SECONDS)

    def _shut_down(self) -> None:
        if self._tracers is not None:
            self._tracers.shutdown()
        self._meters.shutdown()


class _Span(CallSpan):
    """A span, current for as long as it is entered."""

    def __init__(
        self, tracer: trace.Tracer, kind: SpanKind, attributes: Attributes, parent: context.Context
    ) -> None:
        method, tool = attributes["mcp.method.name"], attributes.get("gen_ai.tool.name")
        name = f"{method} {tool}" if tool else str(method)
        self._span = tracer.start_span(name, parent, kind, attributes)
        self._context = trace.set_span_in_context(self._span, parent)
        self._token: Any = None

    def __enter__(self) -> CallSpan:
        self._token = context.attach(self._context)
        return self

    def __exit__(self, *raised: object) -> None:
        kind = raised[0]
        if isinstance(kind, type):
            self._fail(_ENDINGS.get(kind, kind.__name__))
        self._span.end()
        context.detach(self._token)

    def carry(self, params: JsonObject) -> JsonObject:
        """Params whose `_meta` names this span instead of the client's."""
        fields = propagate.get_global_textmap().fields
        carrier: dict[str, str] = {}
        propagate.inject(carrier, self._context)
        meta = {key: value for key, value in find_meta(params).items() if key not in fields}
        return {**params, "_meta": {**meta, **carrier}} if meta or carrier else params

    def record_answer(self, answer: JsonObject) -> None:
        """Note how the call ended."""
        error, result = answer.get("error"), answer.get("result")
        if isinstance(error, dict):
            code = str(error.get("code"))[:MOST_CHARS]
            self._span.set_attribute("rpc.response.status_code", code)
            self._fail(code)
        elif isinstance(result, dict) and result.get("isError") is True:
            self._fail("tool_error")

    def _fail(self, error_type: str) -> None:
        self._span.set_attribute("error.type", error_type)
        self._span.set_status(Status(StatusCode.ERROR))


_ENDINGS: dict[type, str] = {Unavailable: "unavailable", asyncio.CancelledError: "cancelled"}


def _call_attributes(method: str, tool: str) -> Attributes:
    attributes: Attributes = {"mcp.method.name": method}
    if method == CALL:
        attributes["gen_ai.operation.name"] = "execute_tool"
    if tool:
        attributes["gen_ai.tool.name"] = tool[:MOST_CHARS]
    return attributes


def _resource(environ: Mapping[str, str]) -> Resource:
    """The name of the exporting service: `pipeguard`, unless the environment names it."""
    attributes = {SERVICE_VERSION: VERSION}
    named = f"{SERVICE_NAME}=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not named and not environ.get("OTEL_SERVICE_NAME"):
        attributes[SERVICE_NAME] = NAME
    return Resource.create(attributes)


def _exporters(signal: str, names: str, environ: Mapping[str, str]) -> list[Any]:
    """The exporters of a signal, by their names as the environment writes them.

    Raises:
        ImportError: one is not installed.
        ValueError: its own variables are wrong.
    """
    exporters = []
    for name in map(str.strip, names.split(",")):
        if name in (NONE, PROMETHEUS, ""):
            continue
        own, common = f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
        protocol = environ.get(own) or environ.get(common) or DEFAULT_PROTOCOL
        wanted = _EXPORTERS.get(protocol.strip(), protocol) if name == "otlp" else name
        found = entry_points(group=f"opentelemetry_{signal}_exporter", name=wanted)
        if not found:
            raise ImportError(f"no exporter {wanted!r} for {signal} is installed")
        exporters.append(next(iter(found)).load()())
    return exporters


class _LogLines(logging.Handler):
    """The SDK's warnings and errors as lines of our log, at most one a minute."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._next = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        now = monotonic()
        if now >= self._next:
            self._next = now + QUIET_SECONDS
            self._log("warning", "opentelemetry", why=record.getMessage())
