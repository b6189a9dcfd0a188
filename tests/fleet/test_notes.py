"""What ledgers at several replicas remember for each other, by real links."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeguard.firewall.session.memory import Note
from pipeguard.state.postgres.link import Link
from pipeguard.state.postgres.notes import FleetMemory, FleetNotes
from pipeguard.state.shared import read_keys

pytestmark = [pytest.mark.real, pytest.mark.needs("initdb")]


@pytest.fixture
def link(database: str, secret: Path) -> Iterator[Link]:
    link = Link(database, read_keys(str(secret)), 60.0, pytest.fail)
    link.begin()
    yield link
    link.close()


def begin(link: Link) -> FleetMemory:
    return FleetNotes(link, pytest.fail).find_memory("ci", "")


def test_each_answer_waits_for_its_notes_when_several_are_stored_at_once(link: Link) -> None:
    writer, reader = begin(link), begin(link)
    known = [writer.latest]
    for text in (b"first", b"second", b"third"):
        writer.put([Note("one", [], text)])
        assert all(writer.latest is not each for each in known)
        known.append(writer.latest)
    asyncio.run(writer.settle())
    asyncio.run(reader.fetch())
    assert [note.frame for note in reader.read_new()] == [b"first", b"second", b"third"]
