"""Traces and metrics of `serve`, as a collector of OpenTelemetry receives them."""

import json
import subprocess
import urllib.request
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from pipeguard.gateway.serving import requested_exporters
from tests.gateway.collector import Collector, attributes
from tests.gateway.served import Served, ServedAt, actor, write_servers
from tests.gateway.several import STATEFUL
from tests.gateway.test_serving import played
from tests.wrap.wrapped import PYTHON, Json, Object

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CONTEXT: Object = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "rojo=00f067aa0ba902b7"}
BROKEN: list[Object] = [
    {"traceparent": "00-zz-zz-01"},
    {"traceparent": 7, "tracestate": ["a"]},
    {"tracestate": "=,=,=" * 200, "baggage": ";;;=" * 300},
]
KEY = "ghp_" + "Z7QX4M2N5P6R3STV" * 2 + "abcd"


def call(client: Served, meta: Object, text: str = "_meta", tool: str = "one__echo") -> Json:
    """The `_meta` that a server reads, of a call with this one; or its text."""
    arguments: Object = {"name": tool, "arguments": {"text": text}}
    answer = client.ask("tools/call", name="call_tool_write", arguments=arguments, _meta=meta)
    result = answer["result"]
    assert isinstance(result, dict)
    content = result["content"]
    assert isinstance(content, list)
    (block, *_) = content
    assert isinstance(block, dict)
    read: Json = json.loads(str(block["text"])) if text == "_meta" else block["text"]
    return read


def serve(folder: Path) -> Served:
    return Served(folder, "--config", str(write_servers(folder, {"one": actor()})))


def test_a_call_is_a_span_with_a_child_and_the_server_hears_of_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        with serve(tmp_path).opened() as client:
            read = call(client, {**CONTEXT, "example.org/kept": "yes", "progressToken": 7})
            call(client, {}, f"key {KEY}")
            broken = [call(client, meta) for meta in BROKEN]
            call(client, {}, "anything", "one__no_such_tool")
            client.ask("tools/call", name="call_tool_" + KEY, arguments={})
            client.end()
    spans = {span.trace_id.hex(): span for span in collector.spans if not span.parent_span_id}
    for seen in broken:
        assert isinstance(seen, dict)
        assert str(seen["traceparent"]).split("-")[1] in spans, "one of a trace of its own"
    assert isinstance(read, dict)
    first = next(span for span in collector.spans if span.trace_id.hex() == TRACE
                 and span.kind == Span.SPAN_KIND_SERVER)  # fmt: skip
    child = next(span for span in collector.spans if span.parent_span_id == first.span_id)
    assert first.parent_span_id.hex() == PARENT
    assert read["traceparent"] == f"00-{TRACE}-{child.span_id.hex()}-01"
    assert read["tracestate"] == CONTEXT["tracestate"]
    assert read["example.org/kept"] == "yes"
    assert "progressToken" in read
    assert (first.name, child.name) == ("tools/call call_tool_write", "tools/call echo")
    session = attributes(first.attributes).pop("mcp.session.id")
    assert attributes(first.attributes) == {
        "mcp.method.name": "tools/call",
        "mcp.protocol.version": "2025-06-18",
        "mcp.session.id": session,
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "call_tool_write",
        "jsonrpc.request.id": "2",
        "network.transport": "pipe",
    }
    assert child.kind == Span.SPAN_KIND_CLIENT
    assert attributes(child.attributes) == {
        "mcp.method.name": "tools/call",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "echo",
        "pipeguard.server": "one",
        "network.transport": "pipe",
    }
    assert attributes(collector.span("tools/call").attributes)["error.type"] == "tool_error"
    failed = [span for span in collector.spans if span.status.code == Status.STATUS_CODE_ERROR]
    assert len(failed) == 4  # the blocked call twice, and two of tools that are not there
    assert collector.resource["service.name"] == "pipeguard"
    assert collector.resource["deployment.environment.name"] == "test"
    assert KEY.encode() not in collector.raw
    assert b"anything" not in collector.raw


def test_whatever_a_client_waits_for_a_server_for_is_a_span(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry: Object = {"command": PYTHON[0], "args": [str(STATEFUL), "a"], "trust": "first-use"}
    prompt: Object = {"type": "ref/prompt", "name": "a__greet"}
    asked: dict[str, Object] = {
        "resources/read": {"uri": "a://a"},
        "prompts/get": {"name": "a__greet"},
        "completion/complete": {"ref": prompt, "argument": {"name": "whom", "value": "an"}},
    }
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        config = write_servers(tmp_path, {"a": entry})
        with Served(tmp_path, "--config", str(config)).opened() as client:
            client.ask("prompts/list")
            client.ask("resources/list")
            for method, params in asked.items():
                client.ask(method, **params, _meta=CONTEXT)
            client.ask("resources/read", uri="a://nowhere")
            client.end()
    for method in asked:
        first, child = (
            next(span for span in collector.spans if (span.name, span.kind) == (method, kind))
            for kind in (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
        )
        assert (first.trace_id.hex(), first.parent_span_id.hex()) == (TRACE, PARENT)
        assert child.parent_span_id == first.span_id
        assert attributes(first.attributes)["mcp.method.name"] == method
        assert attributes(child.attributes)["pipeguard.server"] == "a"
    assert {span.name for span in collector.spans} == set(asked), "lists and openings are none"
    assert b"a://" not in collector.raw


def test_the_figures_say_what_went_through(tmp_path: Path) -> None:
    servers = {"one": actor(), "new": actor(trust="review")}
    config = write_servers(tmp_path, servers, mode="direct")
    with Collector() as collector:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_METRICS_EXPORTER": "otlp, prometheus",
            "OTEL_SERVICE_NAME": "gateway-7",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        }
        with ServedAt(tmp_path, "--config", str(config), **environment) as served:
            calls = [["one__echo", {"text": "hello"}], ["one__echo", {"text": f"key {KEY}"}]]
            plan: dict[str, object] = {"transport": "http", "mode": "legacy", "command": []}
            played({**plan, "env": {}, "url": served.url, "calls": calls})
            with urllib.request.urlopen(served.at("/metrics")) as answer:  # noqa: S310  our own address
                lines = answer.read().decode().splitlines()
    figures = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert figures['pipeguard_server_up{server="one"}'] == "1.0"
    assert figures['pipeguard_tools{server="one"}'] == "1.0"
    assert figures['pipeguard_tools{server="new"}'] == "0.0"
    assert float(figures['pipeguard_definitions_waiting{server="new"}']) > 0
    assert figures['pipeguard_audit_rows_lost_total{server="one"}'] == "0.0"
    assert {"pipeguard_clients", "pipeguard_flow_bytes"} <= figures.keys()
    counted = 'pipeguard_call_seconds_count{outcome="%s",server="one"}'
    assert (figures[counted % "ok"], figures[counted % "error"]) == ("1.0", "1.0")
    blocked = 'pipeguard_verdicts_total{action="block",direction="to-server",server="one"}'
    assert figures[blocked] == "1.0"
    assert collector.resource["service.name"] == "gateway-7"
    calls_made = collector.metrics["pipeguard.call"].histogram.data_points
    assert {str(attributes(each.attributes)["outcome"]): each.count for each in calls_made} == {
        "ok": 1,
        "error": 1,
    }
    assert all(each.sum > 0 for each in calls_made)
    assert "pipeguard.verdicts" in collector.metrics
    assert attributes(collector.spans[0].attributes)["network.transport"] in ("tcp", "pipe")


def test_a_context_passes_unchanged_where_nobody_asks_for_traces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with serve(tmp_path).opened() as client:
        assert call(client, CONTEXT) == CONTEXT
        assert call(client, {"traceparent": "broken"}) == {"traceparent": "broken"}


def test_a_collector_that_is_not_there_is_one_line_and_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with serve(tmp_path).opened() as client:
        assert call(client, {}, "hello") == "hello"
        client.end()
        assert client.said().count("opentelemetry") == 1
        assert "Traceback" not in client.said()


# --- when ---------------------------------------------------------------------------------------

NOTHING, BOTH = ("none", "none"), ("otlp", "otlp")


@pytest.mark.parametrize(
    ("environ", "signals"),
    [
        ({}, NOTHING),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, NOTHING),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, BOTH),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318"}, ("otlp", "none")),
        ({"OTEL_METRICS_EXPORTER": "OTLP"}, ("none", "otlp")),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_METRICS_EXPORTER": "none"},
            ("otlp", "none"),
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "TRUE"}, NOTHING),
    ],
)
def test_the_variables_say_what_is_exported(
    environ: dict[str, str], signals: tuple[str, str]
) -> None:
    assert requested_exporters(environ) == signals


def test_nothing_of_it_is_imported_where_nobody_asks_for_it() -> None:
    program = """
import sys
import pipeguard.gateway.serving
from pipeguard.gateway.serving import open_telemetry
assert not open_telemetry({}, None, "pipe").has_text
print(sorted(name for name in sys.modules if name.startswith(("opentelemetry", "prometheus"))))
"""
    done = subprocess.run([*PYTHON, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
