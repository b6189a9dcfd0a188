"""`pipeguard replay`, and `policy check --replay`: their reports, exit codes, and traces: none."""

import json
import os
import sys
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from pipeguard.state.record.lines import FORMAT, VERSION, seal, to_text
from tests.commands import run_command
from tests.firewall.session import talk
from tests.replay.recording import Recording
from tests.snapshot import Snapshot

# Runs the command line, and ends it if anything is written, connected or started.
WATCHED = """
import os, sys
def watch(event, details):
    if event.startswith(("socket.", "subprocess.", "os.mkdir", "os.re", "sqlite3.")):
        os._exit(99)
    if event == "open" and (details[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        os._exit(98)
sys.addaudithook(watch)
from pipeguard.__main__ import main
main()
"""


@pytest.fixture(autouse=True)
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    recording = Recording(tmp_path / "records")
    for number, (tool, text) in enumerate([("git_push", "x")] * 3 + [("mail\x1b", "y")]):
        recording.client(talk.call(number, text, tool))
        recording.server(talk.answer(number, "Done."))
    recording.client(talk.call(9, talk.KEY))
    Path("ask.yaml").write_text("tools: {ask: [git_push, mail*]}\n")
    Path("loose.yaml").write_text("actions: [{pack: secrets, action: warn}]\n")
    Path("wrong.yaml").write_text("mod: enforce\n")
    return recording.end()


def test_reports_and_exit_codes(snapshot: Snapshot, records: Path) -> None:
    other = Path("changed.jsonl")
    other.write_bytes(records.read_bytes().replace(b"git_push", b"git_pull", 1))
    later = to_text({"format": FORMAT, "version": VERSION + 1})
    Path("later.jsonl").write_bytes(seal(b"", later)[1])
    snapshot.commands(
        "replay",
        """
        replay records
        replay records --policy ask.yaml  # 1
        replay records records/demo-RUN.jsonl --policy loose.yaml --fail-on passed  # 1
        replay records --policy ask.yaml --format json  # 1
        replay records --policy ask.yaml --format junit --fail-on passed
        replay records --policy wrong.yaml  # 2
        replay changed.jsonl  # 2
        replay later.jsonl  # 2
        replay ask.yaml  # 2
        policy check ask.yaml --replay records  # 1
        policy check wrong.yaml --replay records  # 2
        """,
    )


def test_junit_and_json_are_whole(snapshot: Snapshot) -> None:
    suite = Xml.fromstring(snapshot.run("replay records --policy ask.yaml --format junit").out)  # noqa: S314  ours
    assert len(suite.findall("testcase/failure")) == 4
    shown = json.loads(snapshot.run("policy check ask.yaml --replay records --json").out)
    assert [each["tool"] for each in shown["replay"]["stopped"]] == ["git_push"] * 3 + ["mail\x1b"]


def test_a_replay_leaves_no_trace(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    command = [sys.executable, "-B", "-c", WATCHED, "replay", "records", "--format", "json"]
    env = os.environ | {"HOME": str(home), "PIPEGUARD_STATE_DIR": str(home / "state")}
    replayed = run_command(command, cwd=tmp_path, env=env, timeout=60)
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["frames"] == 9
    assert [*home.iterdir()] == []
