"""Which values of a text are secrets."""

from pipeguard.detect.flows import secret_values

LONG = "kX82mQz71LpT04vBnR3w"


def test_a_secret_is_longer_than_an_id_and_no_digest() -> None:
    assert secret_values.is_random(LONG)
    assert not any(
        map(secret_values.is_random, ("cus_7714QaXz81", "d" * 40, "release-notes-of-spring-24"))
    )


def test_only_so_many_secrets_of_a_text_are_kept() -> None:
    text = " ".join(f"aB{number}cD{number * 7}eF{number * 13}gH" for number in range(100, 900))
    assert len(secret_values.secrets(text, secret_values.is_secret)) == secret_values.MOST_SECRETS


def test_a_text_names_its_secrets() -> None:
    text = "db_password: horse#staple\nAPI_KEY=CHANGE_ME_NOW token is required; secret: 'aB3$xyzw'"
    assert secret_values.named_secrets(text) == ["horse#staple", "CHANGE_ME_NOW", "aB3$xyzw"]
