"""What everybody types for a password, and what was chosen well."""

import pytest

from tests.detect.checks.outcomes import assert_fails, assert_holds, assert_unknown

CHOSEN = [
    "Kx9!trombone-{d:2}",
    "Winter-Sun-88{d:2}",
    "acme.prod#20{d:2}",
    "Trombone20{d:2}",
    "High+Low-99{d:2}",
    "AES128-{b62:10}#{b62:4}",
    "tundra-Un2{d:1}",
    "{b62:10}#{b62:4}",
]
ENDS = ["", ".", "!", "?", ":", "**", "\u201d", "\u201d.", "\u3002"]  # of what contains one

HOLDS = [
    ("password", "{b62:14}"),
    ("password", "tr0ub{}4dor&3"),
    ("userinfo", "app:{b62:14}"),
    ("basic-auth", "{base64 acme:{b62:14}}"),
    *(("typed", f"{word}{end}") for word in CHOSEN for end in ENDS),
]

NOT_CHOSEN = [
    "Must-be-8-characters",
    "ValidPass123",
    "P@ssw0rd",
    "Pbkdf2Sha256",
    "user.password1",
    "ops42@mail.example",
    "Trombone1&lang=en",
    "/tmp/build7.home",
    "/srv/Kx9.builds/api2",
    "ECDHE+AESGCM:DHE-RSA-AES256-SHA256",
    "HIGH:!aNULL:!MD5:@STRENGTH",
]

FAILS = [
    ("password", "changeme"),
    ("password", "postgres"),
    ("password", "hunter2"),
    ("userinfo", "postgres:postgres"),
    ("userinfo", "user:passw"),
    ("userinfo", "app:%70ostgres"),
    ("basic-auth", "dXNlcjpwYXNz"),
    *(("typed", f"{word}{end}") for word in NOT_CHOSEN for end in ENDS),
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
