"""Checks by their names: each is found, and each has an answer for any bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.checks.outcome import Outcome
from pipeguard.detect.checks.registry import checks, is_check, run
from pipeguard.errors import RuleError
from tests.detect.checks.outcomes import assert_unknown
from tests.each import each
from tests.fuzz.budget import tried

SPECS = [
    "entropy 3.5",
    "base64-bytes 64",
    "base64-prefix kubernetes",
    "json-keys a t s",
    "jwt-claim role=admin",
    "jwt-claim kubernetes.io",
    "jwt-not role=anon",
    "only-raise github-crc",
    "not-fails password",
    *sorted(checks()),
]


@each("spec", SPECS)
def test_a_check_is_known_by_its_name(spec: str) -> None:
    assert is_check(spec)


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "no-such-check",
        "entropy",
        "entropy high",
        "base64-bytes many",
        "github-crc 3",
        "only-raise",
        "only-raise no-such-check",
    ],
)
def test_a_check_that_there_is_none_of_is_refused(spec: str) -> None:
    assert not is_check(spec)
    with pytest.raises(RuleError):
        run(spec, b"anything")


@each("spec", SPECS)
@tried(30)
@given(secret=st.binary(max_size=400))
def test_any_bytes_get_an_answer(spec: str, secret: bytes) -> None:
    assert run(spec, secret) in Outcome


@each("spec", SPECS)
@tried(50)
@given(
    secret=st.text(alphabet="eyJ.AZaz09+/=_-:$%{}[]\\n \x00\xff", min_size=1, max_size=300).map(
        str.encode
    )
)
def test_what_looks_like_a_token_gets_an_answer(spec: str, secret: bytes) -> None:
    assert run(spec, secret) in Outcome


@pytest.mark.slow
@pytest.mark.parametrize("size", [2**16, pytest.param(2**20, marks=pytest.mark.exhaustive)])
@each("spec", SPECS)
@each("unit", [b"a", b"[", b"eyJ", b"1", b"-----BEGIN ", b"a:", b"\\n", b"="])
def test_a_long_secret_gets_an_answer(spec: str, unit: bytes, size: int) -> None:
    """In time that is linear: at these sizes a square would be minutes."""
    assert run(spec, unit * (size // len(unit))) in Outcome


def test_a_failure_counts_for_nothing_where_a_check_only_raises() -> None:
    assert_unknown("only-raise github-crc", "ghp_{[A]:36}")
