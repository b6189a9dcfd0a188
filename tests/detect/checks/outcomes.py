"""What a check must answer, also where a rule asks it in another way."""

from pipeguard.detect.checks.outcome import Outcome
from pipeguard.detect.checks.registry import run
from pipeguard.rulebook.samples import expand


def made(recipe: str, seed: int = 1) -> bytes:
    """The sample of a recipe."""
    return expand({"gen": recipe}, seed).encode()


def assert_holds(spec: str, recipe: str) -> None:
    secret = made(recipe)
    assert run(spec, secret) is Outcome.HOLDS
    assert run(f"only-raise {spec}", secret) is Outcome.HOLDS
    assert run(f"not-fails {spec}", secret) is Outcome.HOLDS


def assert_fails(spec: str, recipe: str) -> None:
    secret = made(recipe)
    assert run(spec, secret) is Outcome.FAILS
    assert run(f"only-raise {spec}", secret) is Outcome.UNKNOWN
    assert run(f"not-fails {spec}", secret) is Outcome.FAILS


def assert_unknown(spec: str, recipe: str) -> None:
    secret = made(recipe)
    assert run(spec, secret) is Outcome.UNKNOWN
    assert run(f"not-fails {spec}", secret) is Outcome.HOLDS
