"""A store of a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeguard.state.store import Store, open_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pipeguard.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with open_store(path) as opened:
        yield opened
