"""The answer that a check must give, even if a rule asks in another way."""

from collections.abc import Iterable

import pytest

from pipeguard.detect.checks.outcome import Outcome
from pipeguard.detect.checks.registry import run
from pipeguard.rulebook.samples import expand

Rows = Iterable[tuple[str, str]]


def made(recipe: str, seed: int = 1) -> bytes:
    """The sample of a recipe."""
    return expand({"gen": recipe}, seed).encode()


def rows(holds: Rows, fails: Rows, unknown: Rows = ()) -> pytest.MarkDecorator:
    """Run a test with each check and recipe, and the expected outcome."""
    tables = (True, holds), (False, fails), (None, unknown)
    cases = [(*row, outcome) for outcome, table in tables for row in table]
    return pytest.mark.parametrize(("spec", "recipe", "outcome"), cases)


def assert_outcome(spec: str, recipe: str, outcome: Outcome) -> None:
    secret = made(recipe)
    assert run(spec, secret) is outcome
    holds = outcome is True
    assert run(f"only-raise {spec}", secret) is (holds or None)
    fails = outcome is False
    assert run(f"not-fails {spec}", secret) is not fails
