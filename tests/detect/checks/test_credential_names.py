"""Names of arguments and headers for credentials."""

import pytest

from pipeguard.detect.checks.credential_names import is_credential_name


@pytest.mark.parametrize(
    "name", ["password", "db_password", "API_KEY", "x-api-key", "client-secret", "Kennwort", "密码"]
)
def test_a_name_of_a_credential_is_known(name: str) -> None:
    assert is_credential_name(name)


@pytest.mark.parametrize("name", ["key", "token_count", "max_tokens", "passage", "author", ""])
def test_other_names_are_not(name: str) -> None:
    assert not is_credential_name(name)
