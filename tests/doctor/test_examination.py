"""The whole examination: all is told, whatever is wrong, with the command that fixes it."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeguard.cli.doctor import command
from pipeguard.doctor import terminal
from pipeguard.doctor.diagnosis import (
    Case,
    Diagnosis,
    DiagnosisState,
    InstallationCheck,
    good,
    wrong,
)
from pipeguard.doctor.examination import CHECKS, choose, examine, exit_code
from pipeguard.errors import InputError, StateError
from pipeguard.terminal.shells import SHELLS, install_command, is_installed
from tests.doctor.examined import Person
from tests.snapshot import Snapshot
from tests.test_docs import COMMANDS, GROUPS

PAGE = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text(encoding="utf-8")
CASE = Case({}, Path("/home"), Path("/home"), 0.0)


def test_a_new_installation_has_nothing_wrong_but_where_it_lies(person: Person) -> None:
    result = person.examined()
    assert list(result.checks) == [check.id for check in CHECKS]
    off = {name for name, told in result.checks.items() if told.state not in ("good", "note")}
    assert off <= {"launcher"}  # the tests' own is in a virtual environment
    assert result.code == len(off)


def test_with_all_broken_at_once_all_is_told(person: Person) -> None:
    (person.home / ".config" / "pipeguard").mkdir()
    (person.home / ".config" / "pipeguard" / "policy.yaml").write_bytes(b"\xff\xfe")
    (person.home / ".local").write_text("in the way")
    (person.home / ".claude.json").mkdir()
    (person.home / ".cursor").mkdir()
    (person.home / ".cursor" / "mcp.json").write_bytes(os.urandom(500))
    (person.home / ".bashrc").mkdir()
    person.environment |= {
        "HTTPS_PROXY": "http://[",
        "SSL_CERT_FILE": "/no/such/file",
        "PIPEGUARD_CACHE_DIR": "/dev/null/x",
        "PYTHON_KEYRING_BACKEND": "no.such.backend",
        "TERM": "\x1b[31m",
    }
    person.environment["PATH"] = "/no/such/folder"
    checks = [check.id for check in CHECKS if check.id not in ("rules", "cache")]  # seconds
    result = person.examined(*checks)
    assert result.code == 4
    broken = {name for name, told in result.checks.items() if told.state == "wrong"}
    assert broken >= {"policy", "state", "trust", "proxies"}
    assert {"store", "audit", "pins"} <= {
        name for name, told in result.checks.items() if told.state == "unknown"
    }
    assert "\x1b" not in result.stdout
    advice = "\n".join(told.fix for told in result.checks.values())
    commands = re.findall(r"pipeguard ([a-z]+(?: [a-z]+)?)", advice)
    known = COMMANDS.keys() | GROUPS
    assert [words for words in commands if not {words, words.split()[0]} & known] == []


def test_people_read_lines_and_the_worst_first(person: Person, snapshot: Snapshot) -> None:
    person.environment["HTTPS_PROXY"] = "socks5://127.0.0.1:1080"
    with person.here():
        snapshot.commands("doctor", "doctor loopback proxies completion  # 1\ndoctor rule  # 2")


def test_what_a_check_needs_is_looked_at_first() -> None:
    assert [check.id for check in choose(["audit"])] == ["state", "store", "audit"]
    assert choose([]) == CHECKS
    with pytest.raises(InputError):
        choose(["rules", "x"])


def test_the_exit_code_is_that_which_matters_most() -> None:
    checks = [
        InstallationCheck(str(code), "", lambda _: [wrong("x", "y")], exit_code=code)
        for code in (1, 4)
    ]
    assert exit_code(examine(CASE, [])) == 0
    assert exit_code(examine(CASE, checks[:1])) == 1
    assert exit_code(examine(CASE, checks)) == 4
    engine = InstallationCheck("e", "", lambda _: [wrong("x", "y")], exit_code=3)
    assert exit_code(examine(CASE, [*checks, engine])) == 3


@pytest.mark.parametrize(
    ("error", "what", "fix"),
    [
        (StateError("it is broken.\n  Fix it:  fix --all"), "it is broken.", "fix --all"),
        (StateError("it is broken."), "it is broken.", "Look at it"),
        (OSError(28, "No space left on device", "/x"), "/x: no space left on device", "the disk"),
        (ImportError("x", name="yarl"), "yarl cannot be imported", "install"),
    ],
)
def test_what_a_check_runs_into_is_its_diagnosis(error: Exception, what: str, fix: str) -> None:
    def look(_: Case) -> list[Diagnosis]:
        raise error

    checks = [
        InstallationCheck("a", "A", look),
        InstallationCheck("b", "B", lambda _: [good("")], needs="a"),
    ]
    first, second = examine(CASE, checks)
    assert (first.state, first.diagnoses[0].what) == (DiagnosisState.WRONG, what)
    assert fix in first.diagnoses[0].fix
    assert (second.state, second.diagnoses[0].what) == (
        DiagnosisState.UNKNOWN,
        "not checked: fix a first",
    )


@pytest.mark.skipif(sys.platform == "win32", reason="no alarm there, so nothing is said")
def test_what_takes_long_is_told_while_it_does(capfd: pytest.CaptureFixture[str]) -> None:
    def look(_: Case) -> list[Diagnosis]:
        signal.pause()  # until the alarm of whoever waits for it
        return [good("")]

    list(examine(CASE, [InstallationCheck("a", "A", look, waits="waiting for the tests")]))
    assert "waiting for the tests" in capfd.readouterr().err


def test_json_is_all_that_stdout_has() -> None:
    done = CliRunner().invoke(command, ["python", "--json"])
    told = json.loads(done.stdout)
    assert set(told) == {"version", "exit_code", "checks"}
    (check,) = told["checks"]
    assert set(check) == {"id", "title", "state", "seconds", "told"}
    assert set(check["told"][0]) == {"state", "what", "fix"}


def test_the_page_has_every_check_and_the_help_names_it() -> None:
    rows = re.findall(r"^\| `([a-z]+)` \|", PAGE, re.MULTILINE)
    assert rows == [check.id for check in CHECKS]
    assert command.help is not None
    assert all(re.search(rf"\b{check.id}\b", command.help) for check in CHECKS)


@pytest.mark.skipif(sys.platform == "win32", reason="locales are POSIX's")
def test_a_terminal_of_few_letters_is_a_note(person: Person) -> None:
    person.environment["LC_ALL"] = "C"
    start = (sys.executable, "-E", "-P", "-X", "utf8=0", "-m", "pipeguard", "doctor")
    result = person.examined("terminal", start=start)
    assert result.of("terminal").state == "note"
    assert result.of("terminal").fix == "export LC_ALL=C.UTF-8"


def test_colours_are_as_they_are_asked_for(person: Person) -> None:
    person.environment["NO_COLOR"] = "1"
    assert "NO_COLOR" in person.examined("terminal").of("terminal").what


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shell != "powershell"])
def test_completion_is_installed_by_its_command(person: Person, shell: str) -> None:
    person.environment["SHELL"] = f"/usr/bin/{shell}"
    folder = Path(sys.executable).parent
    person.environment["PATH"] = f"{folder}:{person.environment['PATH']}"
    told = person.examined("completion").of("completion")
    assert (told.state, told.fix) == ("note", install_command(shell))
    (person.home / ".config" / "fish" / "completions").mkdir(parents=True)
    person.fix(told.fix)
    assert person.examined("completion").of("completion").state == "good"


def test_completion_in_the_profile_of_powershell_counts(person: Person) -> None:
    person.environment["SHELL"] = "/usr/bin/pwsh"
    told = person.examined("completion").of("completion")
    line = re.fullmatch(r"Add-Content \$PROFILE '(.+)'", told.fix)
    assert line is not None
    profile = person.home / ".config" / "powershell" / "Microsoft.PowerShell_profile.ps1"
    profile.parent.mkdir(parents=True)
    profile.write_text(f"{line[1]}\n")
    assert person.examined("completion").of("completion").state == "good"


def test_a_script_where_the_shell_looks_counts_too(tmp_path: Path) -> None:
    place = tmp_path / "share" / "bash-completion" / "completions" / "pipeguard"
    variables = {"XDG_DATA_HOME": str(tmp_path / "share")}
    assert not is_installed("bash", variables, tmp_path)
    place.parent.mkdir(parents=True)
    place.touch()
    assert is_installed("bash", variables, tmp_path)


def test_another_shell_has_nothing_to_install() -> None:
    (told,) = terminal.completion(Case({"SHELL": "/bin/dash"}, Path("/"), Path("/"), 0.0))
    assert told.state is DiagnosisState.GOOD
