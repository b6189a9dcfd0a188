"""A store of a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeguard.state.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pipeguard.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path) as opened:
        yield opened
