"""What the tests of the running wrap share."""

import pytest

from pipeguard.rulebook.cache import load_engines


@pytest.fixture(scope="session", autouse=True)
def _compiled_rules() -> None:
    """Compile the rules once, which is not what any of these tests is about."""
    load_engines()
