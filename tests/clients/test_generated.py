"""Generated configurations: no byte changes outside of the entry, twice is once, undo is exact.

`PIPEGUARD_FUZZ_FACTOR=134` runs 20,000 of each format.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.clients import history, setting, undoing
from pipeguard.clients.catalog import FileSpec, clients
from pipeguard.clients.entries import Config, GuardState, parse_config
from pipeguard.clients.machine import Machine
from pipeguard.clients.rewrite import GuardOptions
from tests.clients.documents import NAME, Document, json_documents, toml_documents, yaml_documents
from tests.fuzz.budget import tried

BOM = "\ufeff".encode()
SPECS = {
    "json": clients()["cursor"].files[0],
    "toml": clients()["codex"].files[0],
    # Of YAML's own clients none has the plain shape; the edits are the same.
    "yaml": clients()["cursor"].files[0]._replace(format="yaml"),
}
# Above and below the entry, what a person may write in the meantime.
ELSEWHERE = {"json": ("\n", "\n\n"), "toml": ("# new\n", ""), "yaml": ("# new\n", "")}


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIPEGUARD_STATE_DIR", f"{folder}/state")
        patch.setattr(os, "fsync", lambda _: None)  # the disk is not what is tried, 20,000 times
        home = Path(folder, "home")
        home.mkdir()
        yield Machine("linux", home, {})


def read(machine: Machine, spec: FileSpec, content: bytes) -> Config:
    path = machine.home / "config"
    path.write_bytes(content)
    return parse_config(path, (spec,), content)


def check(machine: Machine, spec: FileSpec, document: Document, *, bom: bool) -> None:
    before = (BOM if bom else b"") + document.text.encode()
    config = read(machine, spec, before)
    assert config.problem == ""
    launcher = ("/opt/pipe guard/pipeguard",)
    planned = setting.plan(config, machine, launcher, GuardOptions(names=[NAME]))
    (one,) = [one for one in planned.servers if one.chosen]
    assert (one.state, one.why) == (GuardState.OPEN, "")
    assert planned.content is not None
    assert setting.carry_out(planned, machine) is not None
    after = config.path.read_bytes()

    start = (BOM if bom else b"") + document.before.encode()
    end = document.after.encode()
    assert after.startswith(start)
    assert after.endswith(end)
    assert after != before

    again = read(machine, spec, after)
    (server,) = [server for server in again.servers if server.name == NAME]
    assert server.guard is not None
    words = GuardOptions(names=[NAME], no_login=True)
    stale = server.guard._replace(launcher=("pipeguard",))
    assert not stale.is_stale
    twice = setting.plan(again, machine, launcher, words)
    (judged,) = [one for one in twice.servers if one.chosen]
    assert judged.state in (GuardState.GUARDED, GuardState.STALE)

    # A person writes elsewhere in the meantime: only the entry comes back.
    above, below = ELSEWHERE[spec.format]
    mark = BOM if bom else b""
    edited = mark + above.encode() + after.removeprefix(mark) + below.encode()
    plan = undoing.plan_undo(read(machine, spec, edited), machine)
    assert [one.method for one in plan.undone] == [undoing.UndoMethod.SPLICED]
    assert plan.content == mark + above.encode() + before.removeprefix(mark) + below.encode()

    exact = undoing.plan_undo(read(machine, spec, after), machine)
    assert [one.method for one in exact.undone] == [undoing.UndoMethod.EXACT]
    undoing.undo(exact, machine)
    assert config.path.read_bytes() == before
    assert history.records() == []


@tried(75)
@given(document=json_documents(), bom=st.booleans())
def test_json(machine: Machine, document: Document, bom: bool) -> None:
    check(machine, SPECS["json"], document, bom=bom)


@tried(75)
@given(document=toml_documents(), bom=st.booleans())
def test_toml(machine: Machine, document: Document, bom: bool) -> None:
    check(machine, SPECS["toml"], document, bom=bom)


@tried(75)
@given(document=yaml_documents(), bom=st.booleans())
def test_yaml(machine: Machine, document: Document, bom: bool) -> None:
    check(machine, SPECS["yaml"], document, bom=bom)
