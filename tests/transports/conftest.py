"""What the tests of transports share."""

import pytest

from tests.fuzz.rulebook import engines


@pytest.fixture(scope="session")
def _compiled_rules() -> None:
    """Compile the rules once, which is not what any of these tests is about."""
    engines()
