"""A store of a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeguard.state.recorder import Recorder
from pipeguard.state.store import Store, open_store


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
