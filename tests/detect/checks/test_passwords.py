"""What everybody types for a password, and what was chosen well."""

import pytest

from tests.detect.checks.outcomes import assert_fails, assert_holds, assert_unknown

HOLDS = [
    ("password", "{b62:14}"),
    ("password", "tr0ub{}4dor&3"),
    ("userinfo", "app:{b62:14}"),
    ("basic-auth", "{base64 acme:{b62:14}}"),
]

FAILS = [
    ("password", "changeme"),
    ("password", "postgres"),
    ("password", "hunter2"),
    ("userinfo", "postgres:postgres"),
    ("userinfo", "user:passw"),
    ("userinfo", "app:%70ostgres"),
    ("basic-auth", "dXNlcjpwYXNz"),
    ("basic-auth", "{bytes:20}"),
]

UNKNOWN = [
    ("password", "short1"),
]


@pytest.mark.parametrize(("spec", "recipe"), HOLDS)
def test_a_check_holds(spec: str, recipe: str) -> None:
    assert_holds(spec, recipe)


@pytest.mark.parametrize(("spec", "recipe"), FAILS)
def test_a_check_fails(spec: str, recipe: str) -> None:
    assert_fails(spec, recipe)


@pytest.mark.parametrize(("spec", "recipe"), UNKNOWN)
def test_a_check_cannot_tell(spec: str, recipe: str) -> None:
    assert_unknown(spec, recipe)
