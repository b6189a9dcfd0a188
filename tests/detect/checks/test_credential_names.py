"""Names of arguments and headers for credentials."""

from pipeguard.detect.checks.credential_names import is_credential_name

NAMES = "password", "db_password", "API_KEY", "x-api-key", "client-secret", "Kennwort", "密码"


def test_a_name_of_a_credential_is_told_from_others() -> None:
    assert all(map(is_credential_name, NAMES))
    others = "key", "token_count", "max_tokens", "passage", "author", ""
    assert not any(map(is_credential_name, others))
