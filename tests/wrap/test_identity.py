"""A server's identity: shared and separate pins, and the message if a name is taken."""

import os
from pathlib import Path

import pytest

from pipeguard.state.store import open_store
from tests.files import write_program
from tests.wrap.wrapped import PYTHON, SERVER, Wrapped, result

OTHER = "Returns its text, loudly."


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another server, which says something else of a tool of the same name."""
    path = tmp_path / "other.py"
    path.write_text(SERVER.read_text().replace('"Returns its text."', f'"{OTHER}"'))
    return path


@pytest.fixture
def op(tmp_path: Path) -> Path:
    """A program that runs the command after `--`, as programs that fetch secrets do."""
    text = '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n'
    return write_program(tmp_path / "op", text)


def description(wrapped: Wrapped) -> str:
    """Return the description of the tool as the client reads it; the tool can be called."""
    wrapped.initialize()
    tools = result(wrapped.ask("tools/list"))["tools"]
    assert isinstance(tools, list)
    called = result(wrapped.ask("tools/call", name="echo", arguments={"text": "hello"}))
    assert "isError" not in called, called
    wrapped.hang_up()
    wrapped.code()
    assert isinstance(tools[0], dict)
    return str(tools[0]["description"])


def known(folder: Path) -> tuple[str, ...]:
    with open_store(folder / "state" / "pipeguard.db") as store:
        return store.servers()


def test_what_one_launcher_starts_is_told_apart(tmp_path: Path, op: Path, other: Path) -> None:
    for script, told in ((SERVER, "Returns its text."), (other, OTHER)):
        command = (op.name, "run", "--env-file=x", "--", *PYTHON, str(script))
        path = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
        with Wrapped(tmp_path, options=(), command=command, environment=path) as wrapped:
            assert description(wrapped) == told
    assert len(known(tmp_path)) == 2


def test_a_name_that_another_server_has_is_told_and_not_shared(tmp_path: Path, other: Path) -> None:
    with Wrapped(tmp_path) as wrapped:
        assert description(wrapped) == "Returns its text."
        assert "another server already has the name" not in wrapped.said()
    said = ""
    for _ in range(2):
        with Wrapped(tmp_path, command=(*PYTHON, str(other))) as wrapped:
            assert description(wrapped) == OTHER
            said = wrapped.said()
    first, second = known(tmp_path)
    assert first == "demo"
    assert f"another server already has the name demo; this one is recorded as {second}" in said
    assert str(SERVER) in said


def test_the_same_server_with_other_arguments_keeps_its_pins(tmp_path: Path) -> None:
    with Wrapped(tmp_path) as wrapped:
        description(wrapped)
    command = ("env", "LEVEL=debug", *PYTHON, str(SERVER), "--port", "3", "/srv/notes")
    with Wrapped(tmp_path, command=command) as wrapped:
        assert description(wrapped) == "Returns its text."
        assert "another server already has the name" not in wrapped.said()
    assert known(tmp_path) == ("demo",)


def test_pins_of_a_store_that_knew_no_commands_are_kept(tmp_path: Path, other: Path) -> None:
    with Wrapped(tmp_path) as wrapped:
        description(wrapped)
    with open_store(tmp_path / "state" / "pipeguard.db") as store:
        store.connection.execute("DELETE FROM servers")
    with Wrapped(tmp_path) as wrapped:
        description(wrapped)
    with Wrapped(tmp_path, command=(*PYTHON, str(other))) as wrapped:
        description(wrapped)
    assert len(known(tmp_path)) == 2
