"""The posture of a machine: a row a day and on change, and a warning if something went back."""

import json
import time
from pathlib import Path

import pytest

from pipeguard.assess import posture
from pipeguard.assess.posture import PostureWatch, record_posture
from pipeguard.config.following import Following
from pipeguard.state.audit import AuditFilter, parse_findings, rows
from pipeguard.state.paths import store_path
from pipeguard.state.store import open_store

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
        *("allow: as it should be",) * 2,
        "warn: the bundle's version was 8 before",
        "warn: it has expired",
        f"warn: it no longer follows {URL}",
    ]
    guarded = {"command": "pipeguard", "args": ["wrap", "--", "npx", "x"]}
    file = folder / ".cursor" / "mcp.json"
    file.parent.mkdir()
    for servers in ({"a": guarded, "b": {"command": "npx", "args": ["y"]}}, {}):
        file.write_text(json.dumps({"mcpServers": servers}))
        look(monkeypatch, None)
    assert notes()[5:] == ["allow: as it should be", "warn: 1 servers were guarded before"]
    with open_store(store_path()) as store:
        last = [*rows(store, AuditFilter(rule="audit.posture"))][-2]
        found = parse_findings(last.entry)[0]
        assert (found["guarded"], found["found"], last.entry.kind) == ("1", "2", "posture")


@pytest.mark.parametrize(("days", "said"), [(0.5, 1), (1.5, 2), (-2.0, 2)])
def test_a_day_later_or_with_a_clock_set_back_there_is_another(
    days: float, said: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posture, "describe_following", lambda: SEVENTH)
    now = time.time()
    with open_store(store_path()) as store:
        assert record_posture(store)
        monkeypatch.setattr(time, "time", lambda: now + days * 86_400)
        record_posture(store)
    assert len(notes()) == said
    assert ("clock was set back" in notes()[-1]) is (days < 0)
