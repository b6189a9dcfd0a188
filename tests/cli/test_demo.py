"""`pipeguard demo` with its real server: behind `wrap` as a user runs it, and without a guard."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeguard.config.directories import cache_folder
from pipeguard.demo.client import DemoError, converse
from pipeguard.demo.play import SCENES, leaked_key, play
from pipeguard.rulebook import compilation
from pipeguard.rulebook.compiled_file import COMPILED_PATTERN
from pipeguard.runtime.progress import COMPILING
from pipeguard.state.store import open_store
from tests.commands import run_command
from tests.people import on_terminal, run_here
from tests.snapshot import Snapshot

PIPEGUARD = (sys.executable, "-E", "-P", "-m", "pipeguard")
MOST_SECONDS = 60.0  # 3 are usual: a hang is told as one


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return run_command([*PIPEGUARD, "demo", *options])


def test_every_scene_comes_out_as_it_must_and_its_command_works_as_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even without `pipeguard` on the PATH, as after `make demo`: each event is found."""
    monkeypatch.setenv("PATH", os.defpath)
    done = run("--json")
    document = json.loads(done.stdout)
    assert {scene["name"]: (scene["failures"], scene["rule"]) for scene in document["scenes"]} == {
        "clean-call": ([], ""),
        "leaked-key": ([], "secrets.aws-access-key-id"),
        "split-injection": ([], "injection.override-instructions"),
        "poisoned-description": ([], "trust.held"),
        "rug-pull": ([], "trust.drifted"),
    }
    assert done.returncode == 0
    assert document["seconds"] < MOST_SECONDS
    stopped = document["scenes"][1:]
    for scene in stopped:
        assert re.fullmatch(r"[0-9A-Z]{8}\.[cs][0-9]+", scene["event"])
        shown = run_here("explain", scene["event"]).stdout
        assert re.match(r"\S+: PipeGuard (blocked it|held it for your approval)\.", shown)
        assert "pipeguard allow" not in shown
        assert scene["command"].endswith(f" explain {scene['event']}")
    words = shlex.split(stopped[0]["command"])
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert shown.startswith(stopped[0]["event"])
    with open_store() as store:
        assert store.named_servers() == ()  # it is no server of the user's


def test_for_people_it_prints_each_scene_without_colour_and_without_the_key(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    snapshot.varies[r"\b[0-9A-Z]{8}\.[cs]\d+"] = "EVENT"
    snapshot.varies[r"(?<=seconds: )[\d.]+"] = "DURATION"
    shown = snapshot.shown("demo")
    assert "\x1b" not in shown  # not a terminal
    assert leaked_key() not in shown
    snapshot.text("demo", shown)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo terminals in the library")
def test_colour_is_for_terminals() -> None:
    code, shown = on_terminal("demo", "", environment={"NO_COLOR": ""})
    assert code == 0
    assert "as expected" in shown
    assert "\x1b[32m" in shown


def test_the_first_time_it_says_why_it_takes_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for another process that compiles at the time: to do it here takes half a minute."""
    cached = list(Path(cache_folder()).glob(COMPILED_PATTERN))
    monkeypatch.setenv("PIPEGUARD_CACHE_DIR", str(tmp_path))
    tmp_path.chmod(0o700)
    with compilation._hold_lock(str(tmp_path)):
        first = subprocess.Popen(
            [*PIPEGUARD, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
        )
        assert first.stderr is not None
        told = first.stderr.readline()
        for file in cached:
            shutil.copy2(file, tmp_path)
    first.communicate()
    assert COMPILING in told
    assert first.returncode == 0


def test_without_a_guard_every_scene_but_the_clean_one_fails(snapshot: Snapshot) -> None:
    results = {scene.name: scene.failures for scene in play(wrap=())}
    assert results.pop("clean-call") == ()
    assert len(results) == len(SCENES) - 1
    assert all(results.values())
    lines = (f"{name}: {failure}" for name, failures in results.items() for failure in failures)
    snapshot.text("demo-unguarded", "\n".join(lines))


def test_a_guard_that_dies_is_told_with_its_last_words() -> None:
    died = (sys.executable, "-c", "import sys; sys.exit('out of luck')")
    with pytest.raises(DemoError, match="out of luck"):
        list(play(wrap=died))


def test_a_guard_that_declines_is_told_with_its_reason() -> None:
    answer = '{"jsonrpc":"2.0","id":1,"error":{"code":-37104,"message":"no rules today"}}'
    declines = (sys.executable, "-c", f"import sys; sys.stdin.readline(); print('{answer}')")
    with pytest.raises(DemoError, match="no rules today"):
        list(play(wrap=declines))


def test_the_client_notes_what_comes_unasked(tmp_path: Path) -> None:
    server = """if True:
    for frame in '"id":1,"result":{}', '"method":"a"', '"id":2,"result":{"b":1}':
        print(f'{{"jsonrpc":"2.0",{frame}}}', flush=True)
        input()
    """
    command = [sys.executable, "-I", "-c", server]
    with converse(command, tmp_path, {}, tmp_path / "stderr") as client:
        assert client.ask("ping", {}).result == {"b": 1}
        assert client.notifications == ["a"]
