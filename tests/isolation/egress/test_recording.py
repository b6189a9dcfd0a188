"""Connections in the audit, and the rule that would allow a refused one."""

from pathlib import Path

from click.testing import CliRunner

from pipeguard.cli.explain import command as explain
from pipeguard.isolation.egress.hosts import HostRules
from pipeguard.isolation.egress.judge import EgressReason, EgressRecord, EgressWay
from pipeguard.isolation.egress.recording import ConnectionRecorder, allowing_entry
from pipeguard.state.audit import AuditFilter, rows
from pipeguard.state.exceptions import find_event
from pipeguard.state.paths import store_path
from pipeguard.state.recorder import Recorder
from pipeguard.state.store import open_store
from pipeguard.state.verdict_writer import EndedConnection
from tests.each import each

ADDRESS = EgressReason.ADDRESS


def refusal(
    host: str, port: int, reason: EgressReason = EgressReason.HOST, address: str = ""
) -> EgressRecord:
    return EgressRecord(EgressWay.CONNECT, host, port, address, reason)


def finding_of(record: EgressRecord) -> dict[str, str]:
    """The finding of a record, as the audit has it."""
    written: list[EndedConnection] = []
    ConnectionRecorder(written.append)(record)
    finding = written[0].finding
    assert finding is not None
    return {"rule": finding.rule, "excerpt": finding.excerpt, "host": finding.host}


OFFERED: list[tuple[EgressRecord, str | None]] = [
    (refusal("api.example.com", 443), "api.example.com"),
    (refusal("api.example.com", 0), "api.example.com"),  # of DNS
    (refusal("api.example.com", 8443, EgressReason.PORT), "api.example.com:8443"),
    (refusal("10.0.0.5", 5432), "10.0.0.5:5432"),
    (refusal("fd00::1", 443), "[fd00::1]:443"),
    (refusal("db.example", 5432, ADDRESS, "10.0.0.5"), "db.example:5432=private"),
    (refusal("git.example", 443, ADDRESS, "203.0.113.80"), "git.example=private"),
    (refusal("db.example", 5432, ADDRESS, "127.0.0.1"), "127.0.0.1:5432"),
    (refusal("169.254.169.254", 80), None),
    (refusal("metadata.google.internal", 80), None),
    (refusal("a.example", 80, ADDRESS, "fd00:ec2::254"), None),
    (refusal("", 0, EgressReason.MALFORMED), None),
    (refusal("a\\x00b", 0), None),
]


@each("record, entry", OFFERED)
def test_a_refused_host_has_the_entry_that_allows_it(
    record: EgressRecord, entry: str | None
) -> None:
    assert allowing_entry(finding_of(record)) == entry
    if entry is not None:
        assert record.port in (0, *HostRules.parse([entry]).ports)


def test_what_is_repeated_is_written_once_a_minute_with_a_count() -> None:
    written: list[EndedConnection] = []
    times = iter([0.0, 1.0, 2.0, 3.0, 61.0, 62.0])

    def write(connection: EndedConnection) -> str:
        written.append(connection)
        return connection.target.partition(" ")[2]

    recorder = ConnectionRecorder(write, lambda: next(times))
    for host in ("a.example", "a.example", "b.example", "a.example", "c.example", "b.example"):
        recorder(refusal(host, 443))
    hosts = [
        (item.target.partition(" ")[2], item.finding and item.finding.note) for item in written
    ]
    assert hosts == [
        ("a.example:443", "no rule names this host"),
        ("b.example:443", "no rule names this host"),
        ("a.example:443", "2 more within 60 s after event a.example:443: no rule names this host"),
        ("c.example:443", "no rule names this host"),
        ("b.example:443", "no rule names this host"),
    ]


def test_counts_are_written_at_the_end_and_bounded() -> None:
    written: list[EndedConnection] = []
    recorder = ConnectionRecorder(written.append, lambda: 0.0)
    for number in range(5000):
        recorder(refusal(f"h{number}.example", 443))
    assert len(written) < 1100
    recorder.close()
    assert written[-1].finding is not None
    assert written[-1].finding.note.startswith("3975 more within 60 s")


def test_a_connection_is_a_row_and_a_refused_one_an_event() -> None:
    path = Path(store_path())
    path.parent.mkdir(parents=True, exist_ok=True)
    store = Recorder(path, "weather", "RUN1", log=lambda *_, **__: None)
    events = iter(["", "RUN1.x1", "RUN1.x2"])
    recorder = ConnectionRecorder(lambda connection: store.connect(connection, next(events)))
    way = EgressWay.SOCKS5
    made = EgressRecord(way, "::1", 443, "::1")
    made = made._replace(bytes_sent=10, bytes_received=20, seconds=0.5)
    recorder(made)
    recorder(refusal("bad.example", 8443))
    recorder(EgressRecord(way, "a.example", 443, error="ECONNREFUSED"))
    store.close()
    with open_store(path) as opened:
        entries = [row.entry for row in rows(opened, AuditFilter(server="weather"))]
    assert [(entry.kind, entry.method, entry.action, entry.event) for entry in entries] == [
        ("connection", "socks5 [::1]:443", "allow", ""),
        ("connection", "connect bad.example:8443", "block", "RUN1.x1"),
        ("connection", "socks5 a.example:443", "allow", "RUN1.x2"),
    ]
    assert (entries[0].request_bytes, entries[0].frame_bytes) == (10, 20)
    assert entries[0].duration_ms == 500.0
    (finding,) = find_event(path, "RUN1.x1").findings
    assert allowing_entry(finding) == "bad.example:8443"
    shown = CliRunner().invoke(explain, ["RUN1.x1"])
    assert "bad.example:8443" in shown.output
    assert "no rule names this host" in shown.output
