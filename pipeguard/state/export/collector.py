"""A collector of OpenTelemetry as a target: OTLP over HTTP, by the official exporter.

Attributes follow the semantic conventions for MCP and GenAI if those have a name, and are below
`pipeguard.` otherwise. The exporter does not return why rows were refused, nor how many
(`partial_success`), so its HTTP session notes each answer. The variables OTEL_EXPORTER_OTLP_* for
headers, certificates and compression apply.
"""

from __future__ import annotations

import logging
import socket
from contextlib import suppress
from getpass import getuser
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

import requests
from google.protobuf.message import DecodeError
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource

from pipeguard.errors import PipeGuardError
from pipeguard.state.export.targets import TargetAwayError
from pipeguard.state.paths import store_file
from pipeguard.state.timestamps import from_utc_text
from pipeguard.unicode.display import NAME_CHARS, cut
from pipeguard.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeguard.state.export.targets import ExportedRow

SECONDS = 10.0  # for the collector to answer
_PIECE_BYTES = 4 * 2**10  # of an answer
_MOST_PIECES = 16
_PATH = "/v1/logs"
_SEVERITIES = {
    "warn": SeverityNumber.WARN,
    **dict.fromkeys(("redact", "cut", "block", "ask"), SeverityNumber.ERROR),
}


class CollectorTarget:
    """A collector.

    Args:
        url: its address, with the path `/v1/logs` or without.
        notice: gets a line about rows that it rejected for good.
    """

    def __init__(self, url: str, notice: Callable[[str], None]) -> None:
        self._url = f"{url.rstrip('/').removesuffix(_PATH)}{_PATH}"
        self._notice = notice
        self._session = _NotingSession()
        self._exporter = OTLPLogExporter(self._url, timeout=SECONDS, session=self._session)
        self._resource = _describe_resource()
        logging.getLogger("opentelemetry").addHandler(logging.NullHandler())  # we tell it ourselves

    def __str__(self) -> str:
        return f"otlp {self._url}"

    def send(self, rows: Sequence[ExportedRow]) -> None:
        """Send rows to the collector, which accepts or rejects each of them.

        Raises:
            TargetAwayError: it could not be reached, or takes no rows now.
            PipeGuardError: it refuses them, or is no collector.
        """
        self._session.status = 0
        self._session.outcome = "they could not be sent"
        records = [ReadableLogRecord(_make_record(row), self._resource) for row in rows]
        with suppress(requests.RequestException):  # of the session; newer exporters take it
            self._exporter.export(records)
        status = self._session.status
        what = f"{self._url} took no rows: {self._session.outcome}."
        if status in (0, 408, 429) or status >= 500:
            raise TargetAwayError(what)
        if status >= 300:
            raise PipeGuardError(what)
        answer = ExportLogsServiceResponse()
        try:
            answer.ParseFromString(self._session.body)
        except DecodeError:
            raise PipeGuardError(f"{self._url} does not answer as a collector does.") from None
        if rejected := answer.partial_success.rejected_log_records:
            why = cut(answer.partial_success.error_message, NAME_CHARS)
            self._notice(f"{self._url} rejected {rejected} of {len(rows)} rows for good: {why}")


class _NotingSession(requests.Session):
    """A session that notes what became of its last request, and neither redirects nor retries.

    Attributes:
        status: of the answer; 0 without one.
        outcome: the same in words.
        body: of the answer, or its first 64 KiB.
    """

    status = 0
    outcome = ""
    body = b""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request.

        Raises:
            RequestException: it failed; not of a kind that the exporter tries again.
        """
        options |= {"stream": True, "allow_redirects": False}
        try:
            with super().send(request, **options) as answer:
                self.body = b"".join(islice(answer.iter_content(_PIECE_BYTES), _MOST_PIECES))
        except requests.RequestException as error:
            self.outcome = str(error).rpartition(": ")[2].rstrip("\"')")
            raise requests.RequestException from error
        self.status = answer.status_code
        self.outcome = f"it answered {self.status}"
        if self.status >= 300:
            raise requests.RequestException
        return answer


def _describe_resource() -> Resource:
    """This installation, whose id is the same in every run."""
    host = socket.gethostname()
    user = ""
    with suppress(KeyError, OSError, ImportError):  # in a container, a user may have no name
        user = getuser()
    return Resource.create(
        {
            "service.name": "pipeguard",
            "service.version": VERSION,
            "service.instance.id": str(uuid5(NAMESPACE_URL, f"{host} {user} {store_file()}")),
            "host.name": host,
            "user.name": user,
        }
    )


def _make_record(row: ExportedRow) -> LogRecord:
    fields = dict(row.fields)
    kind, method, tool = fields["kind"], fields["method"], fields["tool"]
    attributes = {"log.record.uid": row.uid, "mcp.session.id": fields["event"].rpartition(".")[0]}
    if kind in ("request", "notification", "result", "error"):  # else the method is not one of MCP
        attributes["mcp.method.name"] = fields.pop("method")
        attributes["gen_ai.tool.name"] = fields.pop("tool")
    attributes |= {f"pipeguard.{name}": value for name, value in fields.items()}
    severity = _SEVERITIES.get(fields["action"], SeverityNumber.INFO)
    time = None
    with suppress(ValueError):  # of a row that was changed
        time = round(from_utc_text(fields["time"]) * 1000) * 10**6
    return LogRecord(
        timestamp=time,
        severity_number=severity,
        severity_text=severity.name,
        body=" ".join(filter(None, (fields["action"], method or kind, tool))),
        attributes={name: value for name, value in attributes.items() if value not in (None, "")},
        event_name=f"pipeguard.{kind}",
    )
