"""The whole examination: all problems are reported, with the commands that fix them."""

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeguard.cli.doctor import command
from pipeguard.clients.machine import Machine
from pipeguard.doctor.diagnosis import Diagnosis, InstallationCheck, good, wrong
from pipeguard.doctor.examination import CHECKS, choose, examine, exit_code
from pipeguard.errors import InputError, StateError
from tests.doctor.examined import Person
from tests.snapshot import Snapshot
from tests.test_docs import COMMANDS, GROUPS

PAGE = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text(encoding="utf-8")
MACHINE = Machine.here()


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
    person.environment |= {
        "PIPEGUARD_CACHE_DIR": "/dev/null/x",
        "PYTHON_KEYRING_BACKEND": "no.such.backend",
        "TERM": "\x1b[31m",
    }
    person.environment["PATH"] = "/no/such/folder"
    checks = [check.id for check in CHECKS if check.id not in ("rules", "cache")]  # seconds
    result = person.examined(*checks)
    assert result.code == 4
    broken = {name for name, told in result.checks.items() if told.state == "wrong"}
    assert broken >= {"policy", "state"}
    assert {"store", "audit", "pins"} <= {
        name for name, told in result.checks.items() if told.state == "unknown"
    }
    assert "\x1b" not in result.stdout
    advice = "\n".join(told.fix for told in result.checks.values())
    commands = re.findall(r"pipeguard ([a-z]+(?: [a-z]+)?)", advice)
    known = COMMANDS.keys() | GROUPS
    assert [words for words in commands if not {words, words.split()[0]} & known] == []


def test_people_read_lines_and_the_worst_first(person: Person, snapshot: Snapshot) -> None:
    person.environment["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
    person.state.parent.mkdir(parents=True)
    person.state.write_text("in the way")
    with person.here():
        snapshot.commands("doctor", "doctor audit policy  # 4\ndoctor rule  # 2")


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
    checks += [InstallationCheck("e", "", lambda _: [wrong("x", "y")], exit_code=3)]
    for count, code in enumerate((0, 1, 4, 3)):
        assert exit_code(examine(MACHINE, checks[:count]), checks) == code


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
    def look(_: Machine) -> list[Diagnosis]:
        raise error

    checks = [
        InstallationCheck("a", "A", look),
        InstallationCheck("b", "B", lambda _: [good("")], needs="a"),
    ]
    first, second = examine(MACHINE, checks)
    assert (first["state"], first["told"][0]["what"]) == ("wrong", what)
    assert fix in first["told"][0]["fix"]
    told = {"state": "unknown", "what": "not checked: fix a first", "fix": ""}
    assert (second["state"], second["told"]) == ("unknown", [told])


@pytest.mark.skipif(sys.platform == "win32", reason="no alarm there, so nothing is said")
def test_what_takes_long_is_told_while_it_does(capfd: pytest.CaptureFixture[str]) -> None:
    def look(_: Machine) -> list[Diagnosis]:
        signal.pause()  # until the alarm of whoever waits for it
        return [good("")]

    list(examine(MACHINE, [InstallationCheck("a", "A", look, waits="waiting for the tests")]))
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
