"""Subjects, whose number nobody bounds: what is kept of each, and for how long."""

import os
from pathlib import Path
from weakref import ref

import pytest

from pipeguard.firewall.finding import Finding
from pipeguard.state.audit import UNSHARED
from pipeguard.state.client_notes import MOST_FILES, ClientNotes
from pipeguard.transports.recently_used import RecentlyUsed
from tests.fleet.issuer import Issuer


def test_what_is_in_use_or_was_used_last_is_kept() -> None:
    made = RecentlyUsed[Issuer](2)
    used = made.find("used", Issuer)
    last = [ref(made.find(name, Issuer)) for name in "abcab"]
    assert made.find("used", Issuer) is used
    assert [each() is None for each in last] == [True, True, True, True, False]
    assert len(made.values()) == 2


def test_open_files_of_notes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.name != "posix":
        pytest.skip("there is no such file")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    notes = ClientNotes(lambda finding: pytest.fail(str(finding)))
    before = len(os.listdir("/dev/fd"))
    for number in range(2 * MOST_FILES):
        memory = notes.of_token(f"sub:{number}")
        assert memory is not None
        memory.read_new()
    assert len(os.listdir("/dev/fd")) - before == 2 * MOST_FILES
    notes.close()
    assert len(os.listdir("/dev/fd")) == before


def test_notes_leave_half_of_the_descriptors_to_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    told: list[Finding] = []
    notes = ClientNotes(told.append)
    before = len(os.listdir("/dev/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * before + 100, hard))
    try:
        memories = [notes.of_token(f"sub:{number}") for number in range(100)]
        for memory in memories:
            assert memory is not None
            memory.read_new()
        assert len(os.listdir("/dev/fd")) <= before + 52
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        notes.close()
    assert {finding.rule for finding in told} == {UNSHARED}
    assert len(os.listdir("/dev/fd")) == before
