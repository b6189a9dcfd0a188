"""Whether the environment asks for traces and metrics, and what gives them.

Imports OpenTelemetry only where a variable asks for it. Source of the variables:
opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeguard.gateway.telemetry import Signals, Telemetry
from pipeguard.installation import reinstall_command
from pipeguard.log import Log, say


def requested_signals(environ: Mapping[str, str]) -> Signals:
    """What the environment asks for.

    A signal is asked for by its own exporter (`OTEL_TRACES_EXPORTER`), or by an endpoint of OTLP.
    The specification would export to localhost with nothing set; a guard does not call anybody
    whom nobody named.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Signals("none", "none")
    return Signals(_exporter(environ, "TRACES"), _exporter(environ, "METRICS"))


def _exporter(environ: Mapping[str, str], signal: str) -> str:
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    usual = "otlp" if any(environ.get(name, "").strip() for name in endpoints) else "none"
    return environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() or usual


def open_telemetry(
    environ: Mapping[str, str], log: Log, transport: str, tell: Callable[[str], None] = say
) -> Telemetry | None:
    """What the environment asks for; None where that is nothing, or cannot be had.

    Args:
        environ: of the process.
        log: gets what the exporters complain of.
        transport: of the clients: `pipe` or `tcp`.
        tell: tells people why there is none.
    """
    signals = requested_signals(environ)
    if not signals:
        return None
    try:
        from pipeguard.gateway.opentelemetry_export import OpenTelemetry

        return OpenTelemetry(signals, environ, log, transport)
    except ModuleNotFoundError as error:
        tell(f"no traces and metrics: OTEL_ variables ask for them, and {error.name} is not"
             f" installed: {reinstall_command('otel')}")  # fmt: skip
    except (ImportError, ValueError) as error:
        tell(f"no traces and metrics, since the OTEL_ variables cannot be followed: {error}")
    return None
