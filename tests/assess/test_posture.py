"""The posture of a machine: a row a day and on change, and a warning if something went back."""

import json
import time
from pathlib import Path

import pytest

from pipeguard.assess import posture
from pipeguard.assess.posture import PostureWatch
from pipeguard.config.following import Following
from pipeguard.state.audit import AuditFilter, parse_findings, rows
from pipeguard.state.paths import store_path
from pipeguard.state.store import open_store
from tests.state.export.exports import change_store

URL = "https://policies.example.com/mcp.jws"
SEVENTH = Following(URL, True, 7, "k1", None, 1.0, True)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def look(monkeypatch: pytest.MonkeyPatch, following: Following | None) -> None:
    monkeypatch.setattr(posture, "describe_following", lambda: following)
    PostureWatch().look()


def notes() -> list[str]:
    """The action and the note of each posture so far."""
    with open_store(store_path()) as store:
        found = [row.entry for row in rows(store, AuditFilter(rule="audit.posture"))]
    return [f"{each.action}: {parse_findings(each)[0]['note']}" for each in found]


def test_a_row_says_what_changed_and_warns_of_what_went_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for following in (
        *(SEVENTH, SEVENTH, SEVENTH._replace(version=8), SEVENTH._replace(version=6)),
        *(SEVENTH._replace(problem="it has expired"), None),
    ):
        look(monkeypatch, following)
    assert notes() == [
        *("allow: the first of this record", "allow: nothing went back"),
        "warn: bundle was 8 before",
        "warn: it has expired",
        f"warn: source was {URL} before; bundle was 7 before",
    ]
    guarded = {"command": "pipeguard", "args": ["wrap", "--", "npx", "x"]}
    file = folder / ".cursor" / "mcp.json"
    file.parent.mkdir()
    elsewhere = {**guarded, "env": {"PIPEGUARD_STATE_DIR": "/tmp/x"}}
    for servers in ({"a": guarded, "b": {"command": "npx", "args": ["y"]}}, {"a": elsewhere}, {}):
        file.write_text(json.dumps({"mcpServers": servers}))
        look(monkeypatch, None)
    first, second, third = notes()[5:]
    assert (first, third) == ("allow: nothing went back", "warn: guarded was 1 before")
    assert "the record of a, elsewhere" in second
    with open_store(store_path()) as store:
        last = [*rows(store, AuditFilter(rule="audit.posture"))][5]
    found = parse_findings(last.entry)[0]
    assert (found["guarded"], found["found"], last.entry.kind) == ("1", "2", "posture")


@pytest.mark.parametrize(
    ("days", "found"), [(0.5, "allow"), (1.5, "allow"), (-2.0, "set back"), (9e9, "was changed")]
)
def test_a_day_later_or_with_a_clock_set_back_there_is_another(
    days: float, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(monkeypatch, SEVENTH)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + days * 86_400)
    if days > 2:
        change_store("UPDATE audit SET time = 'x'")
    look(monkeypatch, SEVENTH)
    assert len(notes()) == (1 if days == 0.5 else 2)
    assert found in notes()[-1]
