"""The program itself, broken for real: its packages, and the path that starts it."""

import shlex
import sys
import tempfile
from pathlib import Path

import pytest

from pipeguard.clients import launcher as paths
from pipeguard.clients.machine import Machine
from pipeguard.doctor import installation
from pipeguard.doctor.diagnosis import Diagnosis, DiagnosisState
from pipeguard.version import VERSION
from tests.doctor.examined import Person
from tests.files import write_program

ASKED = """Requires-Dist: click>=8.1.7
Requires-Dist: no-such-package-at-all>=1
Requires-Dist: only-elsewhere>=1; platform_system == 'Plan 9'
Requires-Dist: only-asked-for>=1; extra == 'test'
"""


def program(path: Path, body: str = f"echo pipeguard, version {VERSION}") -> Path:
    return write_program(path, f"#!/bin/sh\n{body}\n")


def package(folder: Path, version: str, requires: str = "") -> None:
    info = folder / f"mcp_pipeguard-{version}.dist-info"
    info.mkdir(parents=True)
    head = f"Metadata-Version: 2.1\nName: mcp-pipeguard\nVersion: {version}\n"
    (info / "METADATA").write_text(head + requires)


def looked(check: str, path: str = "") -> list[Diagnosis]:
    (found,) = (one for one in installation.CHECKS if one.id == check)
    return list(found.look(Machine("linux", Path("/home"), {"PATH": path})))


@pytest.fixture
def lasting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A programs folder that counts as permanent, and is the only one that has ours."""
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    monkeypatch.setattr(paths, "_TEMPORARY", ())
    monkeypatch.setattr(sys, "argv", ["pytest"])
    return tmp_path / "usr" / "bin"


def test_python_and_packages_are_as_they_were_installed(person: Person) -> None:
    result = person.examined("python", "packages")
    assert result.code == 0
    assert sys.version.split()[0] in result.of("python").what
    told = f"{VERSION}, with all required packages, and the extras desktop, fleet, oauth, otel"
    assert result.of("packages").what == told


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, VERSION, ASKED)
    monkeypatch.syspath_prepend(str(tmp_path))
    (told,) = looked("packages")
    assert told.state is DiagnosisState.WRONG
    assert told.what == "required packages are missing: no-such-package-at-all"
    assert "install" in told.fix


def test_two_installations_in_one_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "0.0.1")
    monkeypatch.syspath_prepend(str(tmp_path))
    (told,) = looked("packages")
    assert (told.state, "version 0.0.1" in told.what) == (DiagnosisState.WRONG, True)


def test_a_launcher_that_lasts_and_starts_is_good(lasting: Path) -> None:
    path = program(lasting / "pipeguard")
    (told,) = looked("launcher", str(path.parent))
    assert told == Diagnosis(DiagnosisState.GOOD, f"clients get {path}")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo pipeguard, version 0.0.1", "is version 0.0.1"),
        ("exec /no/such/python3.9", "does not start"),
    ],
)
def test_a_launcher_that_does_not_start_this_version_is_wrong(
    lasting: Path, body: str, said: str
) -> None:
    path = program(lasting / "pipeguard", body)
    (told,) = looked("launcher", str(path.parent))
    assert (told.state, said in told.what) == (DiagnosisState.WRONG, True), told


def test_one_that_hides_another_is_a_note(lasting: Path) -> None:
    first, second = program(lasting / "pipeguard"), program(lasting.parent / "sbin" / "pipeguard")
    _, told = looked("launcher", f"{first.parent}:{second.parent}:{first.parent}")
    assert told.state is DiagnosisState.NOTE
    assert f"hides {second}" in told.what


def test_where_no_path_lasts_all_that_was_tried_is_told(person: Person) -> None:
    path = program(person.home / ".cache" / "uv" / "pipeguard")
    person.environment["PATH"] = f"{path.parent}:{person.environment['PATH']}"
    result = person.examined("launcher")
    if result.of("launcher").state == "good":  # the tests' own Python is one that stays
        pytest.skip("this Python's own folder lasts")
    assert result.code == 1
    assert shlex.quote(str(path)) in result.of("launcher").what
    assert "install" in result.of("launcher").fix


def test_a_name_that_cannot_be_typed_is_a_note(
    lasting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(program(lasting / "python3")))
    *_, told = looked("launcher", str(lasting / "nothing"))
    assert "not on your PATH" in told.what
