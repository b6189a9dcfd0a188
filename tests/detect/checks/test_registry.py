"""Checks by their names: each is found, and gives an answer for any bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.checks import registry
from pipeguard.errors import RuleError
from tests.detect.cases import read_cases
from tests.each import each
from tests.fuzz.budget import tried

CASES = read_cases(__file__)

SPECS = [
    *(f"{name} {argument}" for name, argument in registry.EXAMPLES.items()),
    "jwt-claim kubernetes.io",
    *sorted(registry.checks()),
]


@each("spec", SPECS)
def test_a_check_is_known_by_its_name(spec: str) -> None:
    assert registry.find_spec_error(spec) == ""


@each("spec, why", CASES["a_check_that_there_is_none_of_is_refused"])
def test_a_check_that_there_is_none_of_is_refused(spec: str, why: str) -> None:
    assert why in registry.find_spec_error(spec)
    with pytest.raises(RuleError):
        registry.run(spec, b"anything")


def test_checks_that_all_have_to_hold_are_run_in_the_order_of_what_they_cost() -> None:
    specs = ("not-fails password", "around-unlabelled", "random", "not-hex", "entropy 3.3")
    assert registry.cheapest_first(specs) == (
        *("not-hex", "entropy 3.3"),
        "around-unlabelled",
        *("not-fails password", "random"),
    )


def test_each_check_with_an_argument_has_an_example() -> None:
    assert registry.EXAMPLES.keys() == {
        *registry._checks_with_argument(),
        "only-raise",
        "not-fails",
    }


@each("spec", SPECS)
@tried(30)
@given(secret=st.binary(max_size=400))
def test_any_bytes_get_an_answer(spec: str, secret: bytes) -> None:
    assert registry.run(spec, secret) in {True, False, None}


@each("spec", SPECS)
@tried(50)
@given(
    secret=st.text(alphabet="eyJ.AZaz09+/=_-:$%{}[]\\n \x00\xff", min_size=1, max_size=300).map(
        str.encode
    )
)
def test_what_looks_like_a_token_gets_an_answer(spec: str, secret: bytes) -> None:
    assert registry.run(spec, secret) in {True, False, None}


@pytest.mark.slow
@pytest.mark.parametrize("size", [2**15, pytest.param(2**20, marks=pytest.mark.exhaustive)])
@each("spec", SPECS)
@each("unit", [b"a", b"[", b"eyJ", b"1", b"-----BEGIN ", b"a:", b"\\n", b"="])
def test_a_long_secret_gets_an_answer(spec: str, unit: bytes, size: int) -> None:
    """The time is linear: at these sizes, quadratic time would be minutes."""
    assert registry.run(spec, unit * (size // len(unit))) in {True, False, None}


def test_a_failure_counts_for_nothing_where_a_check_only_raises() -> None:
    assert registry.run("only-raise github-crc", b"ghp_" + b"A" * 36) is None
