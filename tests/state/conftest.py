"""A store of a test."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeguard.state.pins import Store
from pipeguard.state.recorder import Recorder
from pipeguard.state.store import open_store


@dataclass
class Heard:
    """A log that stores its lines, and signals new ones."""

    lines: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)
    something: threading.Event = field(default_factory=threading.Event)

    def __call__(self, level: str, event: str, **fields: object) -> None:
        self.lines.append((level, event, fields))
        self.something.set()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pipeguard.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with open_store(path) as opened:
        yield opened


def wait_until_written(recorder: Recorder) -> bool:
    """Wait until all that was recorded is written; False if that fails."""
    with recorder._room:
        while recorder._queue or recorder._batch:
            recorder._thread.wake.set()
            recorder._room.wait(30)  # for the end of a batch
            if not recorder.healthy:
                break
    return recorder.healthy
