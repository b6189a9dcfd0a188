"""`pipeguard assess`, as a user, a script and CI run it."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from pipeguard.assess.checking import checks, page
from pipeguard.cli import cli
from tests.assess.places import SECRET, run, write_config
from tests.each import some
from tests.snapshot import Snapshot

TOP = Path(__file__).parents[2]
BAD = TOP / "tests/assess/bad_server.py"
ENTRY = {"command": "npx", "args": ["-y", "srv"], "env": {"API_KEY": SECRET}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one server, which has a secret."""
    write_config(tmp_path / ".mcp.json", {"one": ENTRY})
    return tmp_path


def assess(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["assess", *map(str, arguments)])


@pytest.fixture
def new_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.needs("bubblewrap")  # else none is found not isolated
def test_a_machine_as_its_user_sees_it(new_home: Path, snapshot: Snapshot) -> None:
    snapshot.commands("assess-nothing", "assess\nassess --json")
    write_config(new_home / ".cursor/mcp.json", {"one": ENTRY})
    shown = snapshot.shown("assess  # 1")
    assert SECRET not in shown
    assert "\x1b" not in shown  # no terminal, no colour
    snapshot.text("assess", shown)


@pytest.mark.needs("bubblewrap")  # else none is found not isolated
def test_what_is_true_of_several_servers_is_said_once(new_home: Path, snapshot: Snapshot) -> None:
    """On an ordinary laptop, with an agent that never asks and a server that is downloaded."""
    piped = {"command": "sh", "args": ["-c", "curl -fsSL https://example.com/i.sh | sh"]}
    plain = {name: {"command": name} for name in ("notes", "tasks", "files", "wiki")}
    write_config(new_home / ".cursor/mcp.json", {**plain, "one": ENTRY, "piped": piped})
    (new_home / ".claude").mkdir()
    settings = {"permissions": {"defaultMode": "bypassPermissions"}}
    (new_home / ".claude/settings.json").write_text(json.dumps(settings, indent=1))
    shown = snapshot.shown("assess  # 1")
    assert shown.count("Nothing stands between it and the model.") == 1
    assert "setup cursor --server=piped" not in shown
    snapshot.text("assess-laptop", shown)


@pytest.mark.needs("bubblewrap")  # else none is found not isolated
def test_a_repository_in_each_form(root: Path, snapshot: Snapshot) -> None:
    snapshot.commands(
        "assess-repository",
        f"""
        assess {root}  # 1
        assess {root} --json  # 1
        assess {root} --explain secret-in-config
        assess {root} --baseline none.json  # 2
        assess {root} --output no/such/folder/x  # 2
        assess {root} --write-baseline no/such/folder/x  # 2
        assess {root} --explain secret-in-confg  # 2
        assess {root} --explain no-such-check  # 2
        assess {root} --credentials  # 2
        """,
    )


@pytest.mark.parametrize(("level", "code"), [("critical", 0), ("high", 1), ("never", 0)])
def test_the_exit_code_is_what_fail_on_says(root: Path, level: str, code: int) -> None:
    assert assess(root, "--fail-on", level).exit_code == code


def test_a_baseline_passes_until_something_is_new(root: Path) -> None:
    known = root / "known.json"
    written = assess(root, "--write-baseline", known)
    assert written.exit_code == 0
    assert SECRET not in known.read_text()
    count = len(json.loads(known.read_text())["findings"])
    advised = written.stderr.partition(f"{count} findings written to {known}. Known with:  ")[2]
    again = assess(root, *shlex.split(advised), "--fail-on", "info")
    assert (again.exit_code, "; 0 new." in again.output) == (0, True)
    write_config(root / ".mcp.json", {"one": ENTRY, "two": ENTRY})
    assert assess(root, "--baseline", known).exit_code == 1


def test_a_report_in_a_file(root: Path) -> None:
    path = root / "report.json"
    result = assess(root, "--format", "json", "--output", path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Written to {path}.\n"
    told = json.loads(path.read_text())
    assert told["repository"]
    assert {one["file"] for one in told["findings"]} == {".mcp.json"}
    assert json.loads(assess(root, "--json").output)["findings"] == told["findings"]
    assess(root, "--output", path)
    assert "\x1b" not in path.read_text(), "a file has no colours"


def test_every_check_explains_itself() -> None:
    for name, check in some(checks().items()):
        result = assess("--explain", name)
        assert (result.exit_code, result.output) == (0, page(check))


def test_the_servers_of_a_repository_are_looked_at_where_it_says_how(root: Path) -> None:
    """The machine's servers, the default, are left out."""
    bad = {"command": sys.executable, "args": ["-I", str(BAD), "description"]}
    write_config(root / ".mcp.json", {"one": bad})
    told = assess(root).output
    (advised,) = re.findall(r"To see what they offer:  pipeguard assess (.*?)     \(", told)
    done = assess(*shlex.split(advised), "--json")
    assert (done.exit_code, "checked 1 of 1 servers" in done.stderr) == (1, True)
    found = json.loads(done.stdout)
    assert found["servers"][0]["tools"] == ["echo"]
    assert "definition-flagged" in {one["id"] for one in found["findings"]}


def test_without_connect_nothing_is_started(tmp_path: Path) -> None:
    script = f"open({str(tmp_path / 'started')!r}, 'w')"
    write_config(
        tmp_path / ".mcp.json", {"one": {"command": sys.executable, "args": ["-c", script]}}
    )
    assess(tmp_path)
    assert not (tmp_path / "started").exists()


def test_the_hook_of_pre_commit_runs_what_exists(root: Path) -> None:
    (hook,) = yaml.safe_load((TOP / ".pre-commit-hooks.yaml").read_text())
    program, verb, *arguments = hook["entry"].split()
    assert (program, verb, hook["language"], hook["pass_filenames"]) == (
        *("pipeguard", "assess", "python", False),
    )
    assert run(*arguments, home=root, cwd=root).returncode == 1
    (root / ".mcp.json").unlink()
    assert run(*arguments, home=root, cwd=root).returncode == 0


def test_the_workflow_in_the_page_runs(root: Path) -> None:
    (root / ".cache").symlink_to(os.environ["XDG_CACHE_HOME"])  # rules are compiled once
    page = (TOP / "docs/assess.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    workflow = next(yaml.safe_load(text) for text in blocks if "runs-on" in text)
    steps = [step["run"] for step in workflow["jobs"]["assess"]["steps"] if "run" in step]
    codes = []
    for step in steps:
        if not step.startswith("pipeguard "):
            continue
        command = step.replace("pipeguard ", f"{sys.executable} -m pipeguard ", 1)
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=root,
            env={"PATH": "/usr/bin:/bin", "HOME": str(root)},
            capture_output=True,
            check=False,
        )
        codes.append(done.returncode)
    assert codes == [0, 1]
    assert json.loads((root / "pipeguard.sarif").read_text())["version"] == "2.1.0"
