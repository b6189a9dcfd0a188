"""The parts that judge, broken for real: the engine, rules, their cache, policies."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeguard.clients.machine import Machine
from pipeguard.doctor import judging
from pipeguard.doctor.diagnosis import DiagnosisState
from pipeguard.rulebook.packs import PackFile
from tests.bundles import enrol, make_token
from tests.doctor.examined import Person
from tests.snapshot import Snapshot

BLOCKED = (
    "import sys; sys.modules['hyperscan'] = None; sys.argv[:] = ['pipeguard', *sys.argv[1:]]\n"
    "from pipeguard.__main__ import _run; raise SystemExit(_run(sys.argv[1:]))"
)
WITHOUT_ENGINE = (sys.executable, "-E", "-P", "-c", BLOCKED, "doctor")
SMALL = """pack: small
about: Of the tests.
defaults: {surfaces: [to-server], views: [text], severity: high, confidence: high}
rules:
- id: needle
  title: A needle
  pattern: needle in hay
  why: Of the tests.
  fix: None.
  matches: ["a needle in hay"]
  passes: ["a needle in a box"]
"""
PACK = """pack: mine
about: Of the tests.
defaults: {surfaces: [to-server], views: [text]}
rules:
- id: broken
  title: Never
"""


def test_the_rules_are_ready_and_find_their_samples(person: Person) -> None:
    person.examined("rules")  # compiles them, where this is the first test that needs them
    result = person.examined("rules")
    assert result.code == 0
    assert re.search(r"rules in \d+ packs, ready in", result.of("rules").what)
    assert "hyperscan" in result.of("engine").what


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new cache folder, and one small pack, which compiles at once."""
    pack = PackFile(str(tmp_path / "small.yaml"), SMALL.encode(), shipped=True)
    monkeypatch.setattr(judging, "sources", lambda: (pack,))
    monkeypatch.setenv("PIPEGUARD_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.skipif(os.name != "posix", reason="rights of folders are POSIX's")
def test_a_cache_that_others_may_write_is_closed_by_its_command(alone: Path) -> None:
    machine = Machine.here()
    list(judging.rules(machine))
    alone.chmod(0o777)
    (told,) = judging.cache(machine)
    assert (told.state, "everybody could write" in told.what) == (DiagnosisState.WRONG, True)
    subprocess.run(["sh", "-ec", told.fix], check=True)
    assert next(iter(judging.cache(machine))).state is DiagnosisState.GOOD


@pytest.mark.skipif(sys.platform != "linux", reason="/proc takes no file, not even root's")
def test_a_cache_that_cannot_be_written_is_told(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("/proc/sys", "/proc/no-folder-of-ours"):
        monkeypatch.setenv("PIPEGUARD_CACHE_DIR", place)
        (told,) = judging.cache(Machine.here())
        assert (told.state, place in told.what) == (DiagnosisState.WRONG, True)
    assert not alone.exists()


def test_a_pack_that_does_not_find_its_sample_is_told(
    alone: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = SMALL.replace('matches: ["a needle', 'matches: ["a noodle')
    pack = PackFile(str(tmp_path / "small.yaml"), text.encode(), shipped=True)
    monkeypatch.setattr(judging, "sources", lambda: (pack,))
    (told,) = judging.rules(Machine.here())
    assert (told.state, told.fix) == (DiagnosisState.WRONG, "pipeguard rules test")


def test_without_the_engine_nothing_is_judged_and_the_rest_is_told(person: Person) -> None:
    result = person.examined("rules", "cache", "policy", start=WITHOUT_ENGINE)
    assert result.code == 3
    assert result.of("engine").state == "wrong"
    assert "install" in result.of("engine").fix
    assert result.of("rules").state == result.of("cache").state == "unknown"
    assert result.of("policy").state == "good"


def test_without_a_form_in_c_a_line_says_what_that_costs(person: Person) -> None:
    assert person.examined("engine").of("engine").state == "good"
    blocked = BLOCKED.replace("hyperscan", "pipeguard.detect.model._opener")
    result = person.examined("engine", start=(sys.executable, "-E", "-P", "-c", blocked, "doctor"))
    assert result.code == 0
    assert result.of("engine").state == "note"
    assert "C compiler" in result.of("engine").what


def test_a_wrong_pack_of_the_user_s_is_told(person: Person) -> None:
    folder = person.home / ".config" / "pipeguard" / "rules"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(PACK)
    result = person.examined("rules")
    assert result.code == 1
    assert "mine.yaml" in result.of("rules").what
    assert "broken" in result.of("rules").what


POLICIES = {
    "trust: perhaps\n": 1,
    "trust: perhaps\nmode: maybe\n": 1,
    "mode: [\n": 1,
    "": 0,
    "mode: observe\n": 0,
    "exceptions:\n- {rule: secrets.jwt, tool: x, until: 2020-01-01, why: tests}\n": 0,
    "isolate: [{server: files, read: [/no/such]}, {server: 'f*', write: [/no/such]}]\n": 0,
}


def test_policies_are_looked_at(person: Person, snapshot: Snapshot) -> None:
    path = person.home / ".config" / "pipeguard" / "policy.yaml"
    path.parent.mkdir()
    shown = []
    with person.here():
        for text, code in POLICIES.items():
            path.write_text(text)
            shown.append(f"{text}{snapshot.shown(f'doctor policy  # {code}')}")
        if os.name == "posix":
            path.chmod(0o666)
            shown.append(f"Everybody may write it.\n{snapshot.shown('doctor policy  # 1')}")
        path.unlink()
        (person.home / ".pipeguard.yaml").write_bytes(b"mode: \xff\n")
        shown.append(f"A project's.\n{snapshot.shown('doctor policy  # 1')}")
        enrol(path.parent, make_token("mode: ["))
        shown.append(f"An organisation's.\n{snapshot.shown('doctor policy  # 1')}")
    person.environment["PIPEGUARD_POLICY"] = str(person.home / "gone.yaml")
    with person.here():
        shown.append(f"One that is gone.\n{snapshot.shown('doctor policy  # 1')}")
    snapshot.text("doctor-policy", "\n\n".join(shown))
