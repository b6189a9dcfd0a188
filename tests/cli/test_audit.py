"""`pipeguard audit`: listing, showing, checking and exporting."""

import csv
import io
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeguard.cli.audit import command
from pipeguard.cli.status import command as status
from pipeguard.errors import InputError, StateError
from pipeguard.firewall.finding import Action, Finding
from pipeguard.state.audit import AuditEntry, findings_json
from pipeguard.state.exceptions import find_event
from pipeguard.state.missing import MissingVerdicts, write_note
from pipeguard.state.paths import store_path
from pipeguard.state.store import open_store
from tests.snapshot import Snapshot
from tests.state.samples import FINDING, audit_entry, record

HELD = Finding("trust.held", "call.name", note="it was never approved", tool="get_forecast")

NOW = datetime.now(UTC)


def entry(i: int, hours_ago: int, action: str, tool: str = "get_forecast") -> AuditEntry:
    moment = (NOW - timedelta(hours=hours_ago)).isoformat(timespec="milliseconds")
    findings = findings_json((FINDING,)) if action == "block" else "[]"
    sent = {"client": "editor 1.0", "frame_sha256": f"{i:064x}", "frame_bytes": i}
    shown = {"time": moment.replace("+00:00", "Z"), "action": action, "tool": tool}
    return audit_entry(f"RUN.c{i}", **shown, **sent, findings=findings)


@pytest.fixture(autouse=True)
def store() -> None:
    strange = entry(3, 0, "allow", "=cmd()\x1b[2J")
    record("weather", entry(1, 48, "allow"), entry(2, 2, "block"), strange, run="RUN1")
    record("mail", entry(4, 0, "warn"), run="RUN2")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


def events(*arguments: str) -> list[str]:
    result = run("list", "--json", *arguments)
    assert result.exit_code == 0
    return [row["event"] for row in json.loads(result.output)]


def test_rows_are_in_order_of_time_also_where_processes_wrote_them_late() -> None:
    record("docs", entry(5, 24, "allow"), run="RUN3")
    assert events()[:3] == ["RUN.c1", "RUN.c5", "RUN.c2"]
    assert events("--limit", "2") == ["RUN.c3", "RUN.c4"]


def test_pings_are_listed_only_if_asked_for() -> None:
    ping = entry(6, 0, "allow", "")._replace(method="ping")
    record("docs", ping, ping._replace(action="block"), run="RUN3")
    assert run("list").stdout.count(" ping") == 1, "one that was blocked is listed"
    assert run("list", "--pings").stdout.count(" ping") == 2
    assert len(events("--server", "docs")) == 2, "programs get them"


def test_what_is_shown(snapshot: Snapshot) -> None:
    record("docs", entry(5, 0, "cut"), run="RUN3")
    answer = entry(7, 0, "allow")._replace(
        direction="to-client", kind="result", token="ci", request_bytes=84, duration_ms=12.34
    )
    record("calendar", answer, run="RUN4")
    held = entry(8, 0, "block")._replace(findings=findings_json((HELD,)))
    record("docs", held, run="RUN5")
    assert events("--action", "cut") == ["RUN.c5"]
    snapshot.commands(
        "audit-list",
        """
        audit list
        audit list --limit 2
        audit list --rule secrets
        audit list --token ci
        audit list --token ci --json
        audit list --server other
        audit list --since yesterday  # 2
        audit list --since 999999w  # 2
        audit list --since 2026-13-01  # 2
        """,
    )
    snapshot.commands(
        "audit-show",
        """
        audit show RUN.c2
        audit show RUN.c2 --json
        audit show RUN.c7
        audit show RUN.c99  # 1
        """,
    )
    assert "\x1b" not in snapshot.run("audit list").out


def test_the_list_is_in_columns_however_much_there_is() -> None:
    many = [entry(number, 0, "allow") for number in range(1000, 2200)]
    record("a-server-with-a-name", *many, run="RUN3")
    title, *lines = run("list", "--limit", "0").output.splitlines()
    assert len(lines) == len(many) + 4
    column = title.index("action")
    assert {line[column : column + 6].strip() for line in lines[4:]} == {"ALLOW"}
    assert {len(line[:column].split()) for line in lines[4:]} == {3}


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((), ["RUN.c1", "RUN.c2", "RUN.c3", "RUN.c4"]),
        (("--since", "3h"), ["RUN.c2", "RUN.c3", "RUN.c4"]),
        (("--since", (NOW - timedelta(hours=3)).isoformat()), ["RUN.c2", "RUN.c3", "RUN.c4"]),
        (("--since", "2020-01-01", "--action", "allow"), ["RUN.c1", "RUN.c3"]),
        (("--rule", "secrets.aws-access-key-id"), ["RUN.c2"]),
    ],
)
def test_rows_are_found(arguments: tuple[str, ...], found: list[str]) -> None:
    assert events(*arguments) == found


def test_a_whole_audit_verifies(snapshot: Snapshot) -> None:
    snapshot.commands("audit-verify", "audit verify --heads\naudit verify --json")
    heads = [line.split()[0] for line in run("verify", "--heads").output.splitlines()[:-1]]
    told = json.loads(run("verify", "--json").output)
    assert [chain["head"] for chain in told["chains"]] == heads


def test_a_rewritten_audit_is_not_what_its_heads_were(tmp_path: Path) -> None:
    listed = run("verify", "--heads").output
    (tmp_path / "heads").write_text(listed)
    record("mail", entry(5, 0, "warn"), run="RUN3")
    assert run("verify", "--against", str(tmp_path / "heads")).exit_code == 0
    connection = sqlite3.connect(store_path())
    with connection:
        gone = connection.execute(
            "DELETE FROM audit WHERE chain = 'RUN1' AND seq = 3 RETURNING id"
        ).fetchall()
        connection.execute("UPDATE audit SET id = id - 1 WHERE id > ?", *gone)
        connection.execute(
            "UPDATE chains SET length = 2, head = (SELECT hash FROM audit"
            " WHERE chain = 'RUN1' AND seq = 2) WHERE chain = 'RUN1'"
        )
    connection.close()
    assert run("verify").exit_code == 0
    done = run("verify", "--against", str(tmp_path / "heads"))
    assert (done.exit_code, "RUN1: row 3 is not the head it was" in done.output) == (1, True)
    assert "either the audit was rewritten since, or that\nfile is not as" in done.stderr
    for content, why in (
        (b"junk\n", "'junk' is not a head"),
        (b"\xff\x00 1 RUN1\n", "RUN1: row 1 is not the head it was"),
        (b"\xff\xfe\x00", "is not a head"),
        (b"", "lists no head"),
        (b" \n\n", "lists no head"),
        (listed.splitlines()[-1].encode(), "lists no head"),  # `verify` without --heads
    ):
        (tmp_path / "heads").write_bytes(content)
        done = run("verify", "--against", str(tmp_path / "heads"))
        assert why in f"{done.exception}{done.output}"
        is_usage = isinstance(done.exception, InputError)
        assert (done.exit_code, is_usage) == (1, not done.output), "2 in the terminal"
    (tmp_path / "heads").write_text("0 rows in 0 chains, unchanged.\n")
    assert run("verify", "--against", str(tmp_path / "heads")).exit_code == 0


def test_a_changed_row_is_listed(snapshot: Snapshot) -> None:
    connection = sqlite3.connect(store_path())
    with connection:
        connection.execute("UPDATE audit SET action = 'allow' WHERE event = 'RUN.c2'")
    connection.close()
    snapshot.commands("audit-changed", "audit verify  # 1\naudit verify --json  # 1")


def test_json_lines_have_every_field() -> None:
    lines = run("export").output.splitlines()
    assert [json.loads(line)["event"] for line in lines] == events()
    assert json.loads(lines[1]) == json.loads(run("list", "--json").output)[1]


def test_csv_has_every_field_and_no_formula() -> None:
    rows = list(csv.DictReader(io.StringIO(run("export", "--format", "csv").output)))
    assert [row["event"] for row in rows] == events()
    assert rows[2]["tool"] == "'=cmd()⟨U+001B⟩[2J"
    assert json.loads(rows[1]["findings"])[0]["rule"] == "secrets.aws-access-key-id"


CELLS = {
    "\x1b]0;title\x07": "⟨U+001B⟩]0;title⟨U+0007⟩",
    "\t=cmd()": "⟨U+0009⟩=cmd()",
    "  =cmd()": "'  =cmd()",
    "+1": "'+1",
    "＝1": "'＝1",
    "a;=cmd();b": "a;'=cmd();b",
    'a;"=cmd()': "a;\"'=cmd()",
    "\u202eoga": "⟨U+202E⟩oga",
    "prüfen": "prüfen",
}


def test_a_cell_is_run_by_no_spreadsheet_and_no_terminal() -> None:
    record("other", *(entry(number, 0, "allow", tool) for number, tool in enumerate(CELLS, 10)))
    text = run("export", "--format", "csv", "--server", "other").output
    assert [row["tool"] for row in csv.DictReader(io.StringIO(text))] == [*CELLS.values()]
    assert "\x1b" not in text


def test_what_could_not_be_written_is_shown_as_a_gap_and_is_no_change(snapshot: Snapshot) -> None:
    assert "gap" not in run("verify").output + run("list").output
    note = "3 verdicts were lost while the store could not be written"
    finding = Finding("audit.gap", "audit", action=Action.WARN, note=note)
    gap = entry(5, 0, "warn")._replace(
        kind="gap", method="", tool="", findings=findings_json((finding,))
    )
    record("mail", gap, run="RUN2")
    write_note(
        store_path(), MissingVerdicts("RUN9", "mail", 2, "2026-03-02", "2026-03-03", is_over=True)
    )
    snapshot.commands("audit-gaps", "audit verify\naudit verify --json\naudit list")
    told = CliRunner().invoke(status, []).output
    assert "2 gaps of the audit in 7 days" in told


@pytest.mark.parametrize("findings", ["not JSON", "[3]", '[{"rule": 3}]'])
def test_findings_that_somebody_else_wrote_are_told(findings: str) -> None:
    with open_store() as opened:
        opened.connection.execute(
            "UPDATE audit SET findings = ? WHERE event = 'RUN.c3'", [findings]
        )
    for arguments in (["list"], ["list", "--json"], ["show", "RUN.c3"], ["export"]):
        error = run(*arguments).exception
        assert isinstance(error, StateError)
        assert "pipeguard audit verify" in str(error)
    with pytest.raises(StateError, match="damaged"):
        find_event(store_path(), "RUN.c3")
    assert "was changed or moved" in run("verify").stdout
