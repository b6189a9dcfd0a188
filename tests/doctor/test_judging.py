"""What judges, broken for real: the engine, rules, their cache, policies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pipeguard.waiting import COMPILING
from tests.doctor.examined import Person

BLOCKED = (
    "import sys; sys.modules['hyperscan'] = None; sys.argv[:] = ['pipeguard', *sys.argv[1:]]\n"
    "from pipeguard.__main__ import _run; raise SystemExit(_run(sys.argv[1:]))"
)
WITHOUT_ENGINE = (sys.executable, "-E", "-P", "-c", BLOCKED, "doctor")
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
    assert "from the cache" in result.of("rules").what
    assert "hyperscan" in result.of("engine").what


def test_compiling_is_told_with_its_time_and_a_closed_cache_is_believed(person: Person) -> None:
    folder = person.home / "cache"
    person.environment["PIPEGUARD_CACHE_DIR"] = str(folder)
    first = person.examined("rules")
    assert " s and kept" in first.of("rules").what
    if " 0." not in first.of("rules").what:  # a machine that takes more than a second says why
        assert COMPILING in first.stderr
    again = person.examined("cache")
    assert "from the cache" in again.of("rules").what
    assert again.of("cache").state == "note"  # a client that passes no variable looks elsewhere
    assert "env -u PIPEGUARD_CACHE_DIR" in again.of("cache").mend
    if os.name == "posix":
        folder.chmod(0o777)
        open_to_all = person.examined("cache")
        assert open_to_all.code == 1
        assert "others could write" in open_to_all.of("cache").what
        person.mend(open_to_all.of("cache").mend)
        assert "from the cache" in person.examined("rules").of("rules").what


def test_without_the_engine_nothing_is_judged_and_the_rest_is_told(person: Person) -> None:
    result = person.examined("rules", "cache", "policy", start=WITHOUT_ENGINE)
    assert result.code == 3
    assert result.of("engine").state == "wrong"
    assert "install" in result.of("engine").mend
    assert result.of("rules").state == result.of("cache").state == "unknown"
    assert result.of("policy").state == "good"


def test_a_wrong_pack_of_the_user_s_is_told(person: Person) -> None:
    folder = person.home / ".config" / "pipeguard" / "rules"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(PACK)
    result = person.examined("rules")
    assert result.code == 1
    assert "mine.yaml" in result.of("rules").what
    assert "broken" in result.of("rules").what


@pytest.mark.parametrize(
    ("text", "state", "said"),
    [
        ("trust: perhaps\n", "wrong", "trust"),
        ("mode: [\n", "wrong", "policy.yaml"),
        ("", "good", "is right"),
        ("mode: observe\n", "note", "nothing is stopped"),
        (
            "exceptions:\n- {rule: secrets.jwt, tool: x, until: 2020-01-01, why: tests}\n",
            "note",
            "2020-01-01",
        ),
    ],
)
def test_the_user_s_policy_is_looked_at(
    person: Person, text: str, state: str, said: str
) -> None:
    path = person.home / ".config" / "pipeguard" / "policy.yaml"
    path.parent.mkdir()
    path.write_text(text)
    result = person.examined("policy")
    assert (result.of("policy").state, result.code) == (state, int(state == "wrong"))
    assert said in result.of("policy").what
    if state == "wrong":
        assert f"pipeguard policy check {path}" in result.of("policy").mend


def test_a_policy_that_is_named_and_not_there_is_told(person: Person) -> None:
    person.environment["PIPEGUARD_POLICY"] = str(person.home / "gone.yaml")
    result = person.examined("policy")
    assert result.code == 1
    assert "gone.yaml cannot be read" in result.of("policy").what


def test_a_project_s_policy_is_looked_at(person: Person) -> None:
    (person.home / ".pipeguard.yaml").write_bytes(b"mode: \xff\n")
    result = person.examined("policy")
    assert result.code == 1
    assert "policy check --project" in result.of("policy").mend


@pytest.mark.skipif(os.name != "posix", reason="rights of files are POSIX's")
def test_a_policy_that_everybody_may_write_is_told(person: Person) -> None:
    path = Path(person.home / ".config" / "pipeguard" / "policy.yaml")
    path.parent.mkdir()
    path.write_text("mode: enforce\n")
    path.chmod(0o666)
    assert "everybody may write" in person.examined("policy").of("policy").what
