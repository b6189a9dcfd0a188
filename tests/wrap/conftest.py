"""Fixtures of the running wrap's tests."""

import pytest

from pipeguard.rulebook.cache import load_engines


@pytest.fixture(scope="session", autouse=True)
def _compiled_rules() -> None:
    """Compile the rules once; none of these tests is about that."""
    load_engines()
