"""The store in PostgreSQL: it verifies, forgets and copies as the file does, for every command."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from pipeguard.firewall.finding import Severity
from pipeguard.state import activity, calls, dismissals, search, tokens, verification
from pipeguard.state.audit import Audit, AuditEntry, AuditFilter, Chain, chains, hash_row, rows
from pipeguard.state.copying import copy_store
from pipeguard.state.database import connect
from pipeguard.state.pins import Store
from pipeguard.state.postgres.database import PostgresStore
from pipeguard.state.retention import prune
from pipeguard.state.row_filter import parse_filter
from pipeguard.state.store import open_store
from tests.fleet.postgres import Cluster
from tests.state.samples import FINDING, audit_entry, held, seen

pytestmark = [pytest.mark.needs("initdb"), pytest.mark.usefixtures("secret")]
NOW = datetime(2026, 11, 22, tzinfo=UTC)
STORE = Path("pipeguard.db")  # stands for the database
CHECK = "from pipeguard.state.store import open_store; open_store().close()"


@pytest.fixture
def store(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresStore]:
    monkeypatch.setenv("PIPEGUARD_STORE", database)
    with open_store() as opened:
        assert isinstance(opened, PostgresStore)
        yield opened


def fill(store: Store) -> None:
    """Record three days of two runs, and what people decide."""
    for run in ("RUN1", "RUN2"):
        count = 1 if run == "RUN1" else 3
        entries = [
            audit_entry(
                f"{run}.c{day}",
                FINDING._replace(severity=Severity.HIGH),
                time=f"2026-11-{day}T10:00:00.000Z",
                action="warn" if day == 21 else "block",
                duration_ms=day / 8,
            )
            for day in (19, 20, 21)
        ]
        Audit(store, run, "weather", entries[0].time).append_many(entries[:count])
    store.remember("weather", [seen(), held()])
    tokens.create_token(store, "ci", tokens.TokenScope(effect="read"))


def add_replica(store: Store) -> None:
    """Write a chain as another replica sends it, with the number of its own file."""
    started = "2026-11-21T09:00:00.000Z"
    first = hash_row(1, "RUN9", "weather", started, "")
    chain = Chain(1, "RUN9", "weather", started, "", first, first, 0, "gate-1")
    marks = ", ".join("?" * len(chain))
    store.write(f"INSERT INTO chains ({', '.join(Chain._fields)}) VALUES ({marks})", *chain)  # noqa: S608  constants
    Audit(store, "RUN9", "weather", started).append_many([AuditEntry(started)])


def test_each_question_about_the_audit_has_the_answer_of_the_file(
    store: PostgresStore, tmp_path: Path
) -> None:
    now = NOW.timestamp()
    answers = []
    with Store(tmp_path / "other.db", connect(tmp_path / "other.db")) as file:
        for each in (store, file):
            fill(each)
            words = "rule:secrets -verdict:allow tool:sea* slower:1ms larger:1b since:2026-11-19 c"
            found = search.find_rows(each, parse_filter(words), limit=9).rows
            held = calls.find_calls(each, parse_filter("verdict:held,block"), limit=9)[0]
            answers.append(
                [
                    [row.entry.event for _, row in found],
                    [call.number for call in held],
                    [row[:2] for row in rows(each, AuditFilter(limit=3), by_time=True)][:-1],
                    activity.recent_activity(each, now, 1e6),
                    activity.activity_history(each, now),
                    activity.totals(each, now, now - 86_400),
                    [run[2] for run in activity.list_runs(each)],
                    list(activity.find_login_requests(each)),
                    [entry.event for entry in activity.tool_calls(each, "weather", "search", 0)],
                    calls.HourCounts().look(each, now - 60_000),
                    dismissals.find_noted(each),
                    tokens.find_last_uses(each),
                    len(each.pins("weather")),
                ]
            )
    assert answers[0] == answers[1]
    assert answers[0][0] == ["RUN2.c21", "RUN2.c20", "RUN2.c19", "RUN1.c19"]


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE audit SET tool = 'x' WHERE chain = 'RUN2' AND seq = 2", "row 2 was changed"),
        ("DELETE FROM audit WHERE chain = 'RUN2' AND seq = 2", "row 2 is missing"),
        ("DELETE FROM audit WHERE chain = 'RUN2' AND seq = 3", "row 3 is missing"),
        ("DELETE FROM chains WHERE chain = 'RUN1'", "chain number 1 was removed"),
        ("UPDATE pipeguard SET chains = chains + 1", "chain number 4 was removed"),
        ("UPDATE chains SET started = 'x' WHERE chain = 'RUN9'", "own entry was changed"),
    ],
)
def test_what_is_done_to_the_audit_is_seen(
    store: PostgresStore, statement: str, problem: str
) -> None:
    fill(store)
    add_replica(store)
    assert verification.verify(STORE) == []
    store.write(statement)
    assert problem in verification.verify(STORE)[0].what


def test_days_past_retention_go_with_their_chains(store: PostgresStore) -> None:
    fill(store)
    add_replica(store)
    heads = [f"{chain.head} {chain.length} {chain.chain}" for chain in chains(store)]
    assert prune(store, 2, NOW) == 1
    assert [row.entry.time[8:10] for row in rows(store, AuditFilter(chain="RUN2"))] == ["20", "21"]
    assert "RUN1" not in {chain.chain for chain in chains(store)}
    assert verification.verify(STORE) == verification.compare(STORE, heads) == []
    store.write("DELETE FROM audit WHERE chain = 'RUN2' AND seq = 3")
    assert verification.verify(STORE)


def test_a_copy_passes_verification_both_ways(
    store: PostgresStore, cluster: Cluster, tmp_path: Path
) -> None:
    fill(store)
    add_replica(store)
    before = [(row.chain, row.hash) for row in rows(store, AuditFilter())]
    path = tmp_path / "copy.db"
    with Store(path, connect(path)) as file:
        counts = copy_store(store, file, lambda _: None)
        assert counts["audit"] == len(before)
        assert [(row.chain, row.hash) for row in rows(file, AuditFilter())][:-1] == before
        fill_more = Audit(file, "RUN5", "weather", "2026-11-21T12:00:00.000Z")
        fill_more.append_many([audit_entry("RUN5.c1")])
        assert verification.verify(path) == []
        with PostgresStore(cluster.create_database()) as again:
            copy_store(file, again, lambda _: None)
            assert len(list(chains(again))) == len(list(chains(file)))
            assert tokens.stored_tokens(again) == tokens.stored_tokens(store)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("PIPEGUARD_STORE", str(again.path))
                assert verification.verify(STORE) == []


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeguard", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_commands_use_the_database_and_fail_without_a_traceback(
    store: PostgresStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    words = ("status", "audit list", "audit verify", "tokens list", "diff", "store check --json")
    for each in (*words, "explain RUN1.c19", "doctor", "top --once", "audit export"):
        done = run(*each.split())
        assert "Traceback" not in done.stderr
        assert done.returncode in {0, 1}, (each, done)
    copy = ("store", "copy", str(store.path), str(tmp_path / "copy.db"))
    assert [run(*copy).returncode for _ in range(2)] == [0, 4]
    for address, code in (
        ("postgresql://pipeguard@127.0.0.1:9/none", 4),
        ("postgresql://u:secret@127.0.0.1/none", 2),
        ("postgresql://[u/none", 2),
        ("mysql://u@h/none", 2),
    ):
        monkeypatch.setenv("PIPEGUARD_STORE", address)
        done = run("store", "check")
        assert done.returncode == code, done
        assert "secret" not in done.stderr


def test_a_check_reads_the_keys_too(
    database: str, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPEGUARD_STORE", database)
    assert run("store", "check").returncode == 0
    secret.chmod(0o644)
    assert run("store", "check").returncode == 2
    secret.unlink()
    assert run("store", "check").returncode == 2


def test_processes_that_start_at_once_both_find_the_tables(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPEGUARD_STORE", database)
    started = [subprocess.Popen([sys.executable, "-c", CHECK]) for _ in range(4)]
    assert [each.wait() for each in started] == [0] * 4
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE pipeguard SET version = 99")
    done = run("store", "check")
    assert done.returncode == 4
    assert "newer PipeGuard" in done.stderr
