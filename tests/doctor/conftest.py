"""A person with a home folder of their own."""

from pathlib import Path

import pytest

from tests.doctor.examined import Person


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Somebody who has just installed PipeGuard."""
    home = tmp_path / "home"
    (home / ".config").mkdir(parents=True)
    return Person(home)
