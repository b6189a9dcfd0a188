"""What a person finds where a server could not make a file in a folder that it is not given."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.isolation.test_walls import (
    FAILING,
    POLICY,
    allowed,
    call,
    event_in,
    explain,
    failing,
    texts,
)
from tests.isolation.test_wrapped import Isolated
from tests.launch.processes import until

pytestmark = pytest.mark.needs("bubblewrap")


@pytest.mark.parametrize(
    ("tool", "name"),
    [
        ("compose", "report.txt"),
        ("make_report", "report.txt"),
        ("claim", "report.txt.part"),
        ("claim", "report.txt~"),
        ("claim", "tmpa1b2c3d_"),
    ],
)
def test_a_folder_is_given_where_a_file_could_not_be_made(
    tool: str, name: str, tmp_path: Path
) -> None:
    out = tmp_path / "home" / "out"
    out.mkdir(parents=True)
    gone = f"[Errno 2] No such file or directory: '{out / name}'"
    with failing(tmp_path, policy=POLICY) as run:
        ours = texts(call(run.ready(), tool, gone if tool == "claim" else out / name))[1]
        event = event_in(ours)
        until(lambda: f"pipeguard allow {event}" in run.said(), "the person is told the command")
        assert "block isolation.write" in run.said()
        shown = explain(tmp_path, event)[1]
        wanted, _, note = shown.partition("Note it is not given")
        assert wanted.replace(" ", "").endswith(f"Wantedtochange{out}")  # wrapped at a hyphen
        assert f"{name}" in note.partition(" in it Why")[0]
        assert "nothing there" not in shown
        code, shown = allowed(tmp_path, event)
        assert code == 0, shown
        assert 'read and change "~/out", and what is in it' in shown
    if tool != "claim":
        with failing(tmp_path, policy=(tmp_path / "policy.yaml").read_text()) as run:
            made = texts(call(run.ready(), tool, out / name))
            assert made == [{"compose": "composed", "make_report": "made"}[tool]]
        assert (out / name).exists()


def test_the_folder_of_a_file_that_is_only_looked_for_is_given_to_read(tmp_path: Path) -> None:
    out = tmp_path / "home" / "out"
    out.mkdir(parents=True)
    with failing(tmp_path, policy=POLICY) as run:
        event = event_in(texts(call(run.ready(), "read_text_file", out / "plan"))[1])
        until(lambda: f"pipeguard allow {event}" in run.said(), "the person is told the command")
        assert "give the folder to change (--write)" in explain(tmp_path, event)[1]
        code, shown = allowed(tmp_path, event)
        assert code == 0, shown
        assert 'read "~/out", and what is in it' in shown
        assert "--write ~/out" in shown


def test_a_server_reads_the_same_whether_the_folder_is_there_or_not(tmp_path: Path) -> None:
    home, notes = tmp_path / "home", []
    event = ""
    (home / "out").mkdir(parents=True)
    with failing(tmp_path, policy=POLICY) as run:
        run.ready()
        for folder in ("out", "tuo"):
            ours = texts(call(run, "compose", home / folder / "report"))[1]
            notes.append(re.sub(r"\.w\d", ".wN", ours.replace(folder, "FOLDER")))
            event = event_in(ours)
        assert notes[0] == notes[1]
        until(lambda: "nothing there" in explain(tmp_path, event)[1], "the second is recorded")
        assert f"allow {event}" not in run.said()
        code, shown = allowed(tmp_path, event)
        assert code != 0
        assert "make its folder first" in shown


@pytest.mark.parametrize("folder", [".ssh", ".config", ".", "/srv"])
def test_a_folder_that_is_not_offered_is_none_for_a_file_that_is_not_there(
    folder: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    for each_of in (".ssh", ".config/gcloud"):
        (home / each_of).mkdir(parents=True)
    gone = f"[Errno 2] No such file or directory: '{home / folder / 'ghost'}'"
    with failing(tmp_path, policy=POLICY) as run:
        event = event_in(texts(call(run.ready(), "claim", gone))[1])
        until(lambda: "nothing there" in explain(tmp_path, event)[1], "it is recorded")
        assert f"allow {event}" not in run.said()


def test_standard_error_names_few_files_that_are_not_there(tmp_path: Path) -> None:
    out = tmp_path / "home" / "out"
    out.mkdir(parents=True)
    with failing(tmp_path, policy=POLICY) as run:
        run.ready()
        for name in ("settings", "report.part"):
            words = f"Error: ENOENT: no such file or directory, open '{out / name}'"
            assert texts(call(run, "mutter", words)) == ["done"]
        until(lambda: "block isolation.write" in run.said(), "what was to be made is told")
        assert "isolation.read" not in run.said()
        assert "settings in it" not in run.said()


def test_what_is_made_below_a_home_of_its_own_is_gone(tmp_path: Path) -> None:
    """As the documentation says of it, also where the server starts in the home."""
    home = tmp_path / "home"
    with Isolated(tmp_path, "--isolate", "auto", "--cwd", "home", command=FAILING) as run:
        run.ready()
        for path in (home / "report", Path("report.txt")):
            assert texts(call(run, "make_report", path)) == ["made"]
    assert sorted(each.name for each in home.iterdir()) == ["diary", "notes"]
