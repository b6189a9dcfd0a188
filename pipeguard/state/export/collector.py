"""A collector of OpenTelemetry as a target: OTLP over HTTP, in one request a batch.

Attributes follow the semantic conventions for MCP and GenAI if those have a name, and are below
`pipeguard.` otherwise. Of the environment, OTEL_EXPORTER_OTLP_HEADERS applies, a proxy, and
SSL_CERT_FILE: TLS trusts what the system trusts.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from contextlib import suppress
from getpass import getuser
from typing import TYPE_CHECKING, Any

import aiohttp
import truststore
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber
from opentelemetry.util.re import parse_env_headers

from pipeguard.errors import PipeGuardError
from pipeguard.log import say
from pipeguard.state.export.targets import TargetAwayError
from pipeguard.state.timestamps import from_utc_text
from pipeguard.unicode.display import show, visible
from pipeguard.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeguard.state.export.targets import ExportedRow

SECONDS = 10.0  # for all of a request and its answer
MAX_ANSWER_BYTES = 64 * 2**10
SHOWN_CHARS = 300  # of a reason that a peer gives
_PATH = "/v1/logs"
_SEVERITIES = {"warn": "WARN", **dict.fromkeys(("redact", "cut", "block", "ask"), "ERROR")}
_KINDS = {str: "string_value", int: "int_value", float: "double_value"}


class CollectorTarget:
    """A collector.

    Args:
        url: its address, with the path `/v1/logs` or without.
    """

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/').removesuffix(_PATH)}{_PATH}"
        self._tls = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        headers = parse_env_headers(os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""), liberal=True)
        self._headers = {k: v for k, v in headers.items() if not k.startswith("content-")}
        self._headers["content-type"] = "application/x-protobuf"

    def __str__(self) -> str:
        return f"otlp {self._url}"

    def send(self, rows: Sequence[ExportedRow]) -> None:
        """Send rows to the collector, which accepts or rejects each of them.

        Raises:
            TargetAwayError: it could not be reached, or takes no rows now.
            PipeGuardError: it refuses them, or is no collector.
        """
        request = ExportLogsServiceRequest()
        logs = request.resource_logs.add()
        logs.resource.attributes.extend(_make_attributes(_describe_resource()))
        logs.scope_logs.add().log_records.extend(map(_make_record, rows))
        status, body = asyncio.run(self._post(request.SerializeToString()))
        what = f"{self._url} took no rows: it answered {status}."
        if status in (408, 429) or status >= 500:
            raise TargetAwayError(what)
        if status >= 300:
            raise PipeGuardError(what)
        answer = ExportLogsServiceResponse()
        try:
            answer.ParseFromString(body)
        except DecodeError:
            raise PipeGuardError(f"{self._url} does not answer as a collector does.") from None
        if rejected := answer.partial_success.rejected_log_records:
            why = show(answer.partial_success.error_message, SHOWN_CHARS)
            say(f"{self._url} rejected {rejected} of {len(rows)} rows for good: {why}")

    async def _post(self, content: bytes) -> tuple[int, bytes]:
        """Send a request; return the status of the answer, and its body or the beginning of that.

        Raises:
            TargetAwayError: there is no answer in time.
        """
        body = b""
        try:
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=self._tls),
                    trust_env=True,
                    auto_decompress=False,
                    timeout=aiohttp.ClientTimeout(SECONDS),
                    headers=self._headers,
                ) as session,
                session.post(self._url, data=content, allow_redirects=False) as answer,
            ):
                while len(body) <= MAX_ANSWER_BYTES and (chunk := await answer.content.readany()):
                    body += chunk
        except (aiohttp.ClientError, OSError, ValueError) as error:
            why = show(str(error), SHOWN_CHARS) or f"no answer in {SECONDS:g} s"
            raise TargetAwayError(f"{self._url} took no rows: {why}.") from None
        return answer.status, body


def _describe_resource() -> dict[str, str]:
    """This installation."""
    user = ""
    with suppress(KeyError, OSError, ImportError):  # in a container, a user may have no name
        user = getuser()
    return {
        "service.name": "pipeguard",
        "service.version": VERSION,
        "host.name": visible(socket.gethostname()),
        "user.name": visible(user),
    }


def _make_record(row: ExportedRow) -> LogRecord:
    fields = dict(row)
    kind, method, tool, action = (fields[name] for name in ("kind", "method", "tool", "action"))
    attributes = {
        "log.record.uid": fields.pop("id"),
        "mcp.session.id": fields["event"].rpartition(".")[0],
    }
    if kind in ("request", "notification", "result", "error"):  # else the method is not one of MCP
        attributes["mcp.method.name"] = fields.pop("method")
        attributes["gen_ai.tool.name"] = fields.pop("tool")
    attributes |= {f"pipeguard.{name}": value for name, value in fields.items()}
    severity = _SEVERITIES.get(action, "INFO")
    record = LogRecord(
        severity_number=SeverityNumber.Value(f"SEVERITY_NUMBER_{severity}"),
        severity_text=severity,
        body=AnyValue(string_value=" ".join(filter(None, (action, method or kind, tool)))),
        attributes=_make_attributes(attributes),
        event_name=f"pipeguard.{kind}",
    )
    with suppress(ValueError):  # of a row that was changed
        record.time_unix_nano = round(from_utc_text(fields["time"]) * 1000) * 10**6
    return record


def _make_attributes(values: dict[str, Any]) -> Iterator[KeyValue]:
    """The values that are not empty."""
    for name, value in values.items():
        if value not in (None, ""):
            yield KeyValue(key=name, value=AnyValue(**{_KINDS[type(value)]: value}))
