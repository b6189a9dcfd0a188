"""Traces and metrics of the gateway, as the environment asks for them.

OpenTelemetry is imported only if a variable asks for it (names:
opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.installation import reinstall_command
from pipeguard.log import Log, say

if TYPE_CHECKING:
    from pipeguard.gateway.opentelemetry_export import OpenTelemetry

# What a client waits for while a server works. Lists are ours, and a subscription has no end.
TRACED = frozenset({"tools/call", "resources/read", "prompts/get", "completion/complete"})
NONE = "none"  # the exporter of a signal that nobody asks for


class CallSpan(AbstractContextManager["CallSpan"]):
    """The span of one call, as long as the call takes; this one of a call that nobody traces."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the span."""

    def carry(self, params: JsonObject) -> JsonObject:
        """Params that tell the server that its work is part of this span."""
        return params

    def record_answer(self, answer: JsonObject) -> None:
        """Note how the call ended; `answer` has `result` or `error`."""


NO_SPAN = CallSpan()


def requested_exporters(environ: Mapping[str, str]) -> tuple[str, str]:
    """The names of the exporters of traces and of metrics.

    A signal is asked for by its own exporter (`OTEL_TRACES_EXPORTER`), or by an endpoint of OTLP.
    The specification would export to localhost with nothing set; a guard does not call anybody
    whom nobody named.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return NONE, NONE
    return _exporter(environ, "TRACES"), _exporter(environ, "METRICS")


def _exporter(environ: Mapping[str, str], signal: str) -> str:
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    usual = "otlp" if any(environ.get(name, "").strip() for name in endpoints) else NONE
    return environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() or usual


def open_telemetry(
    environ: Mapping[str, str], log: Log, transport: str, tell: Callable[[str], None] = say
) -> OpenTelemetry | None:
    """Telemetry as the environment asks for it; None if it asks for none, or cannot have it.

    Args:
        environ: of the process.
        log: gets what the exporters complain of.
        transport: of the clients: `pipe` or `tcp`.
        tell: tells people why there is none.
    """
    traces, metrics = requested_exporters(environ)
    if traces == metrics == NONE:
        return None
    try:
        from pipeguard.gateway.opentelemetry_export import OpenTelemetry

        return OpenTelemetry(traces, metrics, environ, log, transport)
    except ModuleNotFoundError as error:
        tell(f"no traces and metrics: OTEL_ variables ask for them, and {error.name} is not"
             f" installed: {reinstall_command('otel')}")  # fmt: skip
    except (ImportError, ValueError) as error:
        tell(f"no traces and metrics, because the OTEL_ variables are wrong: {error}")
    return None
