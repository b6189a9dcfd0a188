"""An OpenTelemetry collector: takes OTLP over HTTP, and decodes it by the official definitions."""

import gzip
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """Listens on loopback while it is entered.

    Attributes:
        spans: that were exported to it.
        records: log records that were exported to it.
        metrics: the last state of each metric, by name.
        resource: who exported, by attribute.
        raw: all bytes that came.
        headers: of the last request.
        answers: status and body of the next answers; one of another status than 200 takes nothing.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.records: list[LogRecord] = []
        self.metrics: dict[str, Metric] = {}
        self.resource: dict[str, object] = {}
        self.raw = b""
        self.headers: dict[str, str] = {}
        self.answers: list[tuple[int, bytes]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.headers = dict(self.headers)
                status, answer = collector.answers.pop(0) if collector.answers else (200, b"")
                if status == 200:
                    collector.take(self.path, body)
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.send_header("Location", collector.url)  # only followed by a client at fault
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, path: str, body: bytes) -> None:
        """Decode an export."""
        self.raw += body
        if path == "/v1/traces":
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resource = attributes(of_resource.resource.attributes)
                for of_scope in of_resource.scope_spans:
                    self.spans += of_scope.spans
        elif path == "/v1/logs":
            for logs in ExportLogsServiceRequest.FromString(body).resource_logs:
                self.resource = attributes(logs.resource.attributes)
                for of_logger in logs.scope_logs:
                    self.records += of_logger.log_records
        else:
            assert path == "/v1/metrics"
            for figures in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for of_meter in figures.scope_metrics:
                    self.metrics |= {metric.name: metric for metric in of_meter.metrics}

    def span(self, name: str) -> Span:
        """The one span of this name."""
        (span,) = [span for span in self.spans if span.name == name]
        return span


def attributes(pairs: Sequence[KeyValue]) -> dict[str, object]:
    """Attributes by name."""
    found: dict[str, object] = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        assert kind is not None
        found[pair.key] = getattr(pair.value, kind)
    return found
