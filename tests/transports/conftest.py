"""Fixtures of the transports' tests."""

import pytest

from tests.fuzz.rulebook import engines


@pytest.fixture(scope="session")
def _compiled_rules() -> None:
    """Compile the rules once; none of these tests is about that."""
    engines()
