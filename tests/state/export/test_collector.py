"""The export to a collector of OpenTelemetry, which decodes what arrives."""

import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from time import sleep

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from pipeguard.state.export import exporting
from pipeguard.state.paths import state_folder
from pipeguard.version import VERSION
from tests.gateway.collector import Collector, attributes
from tests.launch.processes import PATIENCE_SECONDS
from tests.state.export.exports import change_store, export, fill, following, wait_for
from tests.state.samples import audit_entry, record

OTLP = ("--format", "otlp")


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as entered:
        yield entered


def arrived(collector: Collector) -> list[object]:
    """The ids of the rows but those of a posture."""
    records = [one for one in collector.records if one.event_name != "pipeguard.posture"]
    return [attributes(one.attributes)["log.record.uid"] for one in records]


def test_rows_arrive_by_the_conventions(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue,Content-Length=0")
    ids = fill(2)
    connection = audit_entry("RUN.s1", kind="connection", method="connect a.example:443", tool="")
    record("weather", connection._replace(action="warn"), run="OTHER")
    assert export(f"{collector.url}/v1/logs", *OTLP) == 0
    assert arrived(collector) == [*ids, "OTHER/1"]
    assert collector.headers["x-tenant"] == "blue"
    call, allowed, warned = collector.records
    found = attributes(call.attributes)
    assert found["mcp.method.name"] == "tools/call"
    assert found["gen_ai.tool.name"] == "search"
    assert found["mcp.session.id"] == "RUN"
    assert found["pipeguard.action"] == "block"
    assert "secrets.aws-access-key-id" in str(found["pipeguard.findings"])
    assert call.time_unix_nano == 1_795_168_800 * 10**9
    assert (call.severity_text, allowed.severity_text) == ("ERROR", "INFO")
    assert call.body.string_value == "block tools/call search"
    assert call.event_name == "pipeguard.request"
    assert warned.severity_text == "WARN"
    assert attributes(warned.attributes)["pipeguard.method"] == "connect a.example:443"
    resource = dict(collector.resource)
    assert (resource["service.name"], resource["service.version"]) == ("pipeguard", VERSION)
    assert resource.keys() >= {"host.name", "user.name"}
    fill(1, "LATER")
    change_store(
        "UPDATE audit SET time = 'x', findings = cast(x'ff' AS TEXT) WHERE chain = 'LATER'"
    )
    answer = ExportLogsServiceResponse()
    answer.partial_success.rejected_log_records = 1
    answer.partial_success.error_message = "too\nold"
    collector.answers = [(200, answer.SerializeToString())]
    assert export(collector.url, *OTLP) == 0
    assert arrived(collector)[3:] == ["LATER/1"], "although it is damaged"
    assert "rejected 1 of 1 rows for good: too⟨U+000A⟩old" in capfd.readouterr().err


def test_a_collector_that_was_away_gets_all_rows(collector: Collector, tmp_path: Path) -> None:
    log = tmp_path / "log"
    collector.answers = [(503, b""), (429, b"")]
    ids = fill(700)
    with following(collector.url, log, *OTLP) as process:
        wait_for(state_folder() / "export-one.json", "POSTURE-")
        fill(1, "LATER")
        wait_for(state_folder() / "export-one.json", "LATER/1")
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGTERM
    assert arrived(collector) == [*ids, "LATER/1"]
    assert log.read_text().count("took no rows: it answered 503. The export waits for it.\n") == 1


REFUSALS = [(400, b""), (401, b""), (307, b""), (200, b"<html>"), (200, b"OK" * 2**20)]


@pytest.mark.parametrize("answer", REFUSALS, ids=lambda answer: f"{answer[0]} {len(answer[1])}")
def test_a_refusal_ends_the_export(answer: tuple[int, bytes], collector: Collector) -> None:
    collector.answers = [answer]
    fill(1)
    assert export(collector.url, *OTLP) == 1
    assert collector.answers == []
    collector.records.clear()
    assert export(collector.url, *OTLP) == 0
    assert arrived(collector) == ["RUN/1"], "the cursor had not moved"


def test_a_collector_has_ten_seconds_for_all_of_an_answer(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exporting, "AWAY_SECONDS", 0.5)
    monkeypatch.setattr("pipeguard.state.export.collector.SECONDS", 0.5)
    fill(1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=drip, args=(listener,), daemon=True).start()
        assert export(f"http://127.0.0.1:{listener.getsockname()[1]}", *OTLP) == 1
    assert "took no rows: no answer in 0.5 s." in capfd.readouterr().err


def drip(listener: socket.socket) -> None:
    """Answer one header without an end, byte by byte."""
    with listener.accept()[0] as connection, suppress(OSError):
        connection.send(b"HTTP/1.1 200 OK\r\nx: ")
        while connection.send(b"x"):
            sleep(0.01)
