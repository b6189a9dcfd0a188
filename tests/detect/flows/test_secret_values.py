"""The values of a text that are secrets."""

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeguard.detect.flows import secret_values
from pipeguard.detect.matching import confirm
from pipeguard.rulebook.samples import expand
from tests.detect.cases import read_cases
from tests.each import each
from tests.fuzz.budget import tried

CASES = read_cases(__file__)

LONG = "kX82mQz71LpT04vBnR3w"


def test_a_secret_is_longer_than_an_id_and_no_digest() -> None:
    assert secret_values.is_random(LONG)
    harmless = "cus_7714QaXz81", "d" * 40, "release-notes-of-spring-24"
    assert not any(map(secret_values.is_random, harmless))


def test_only_so_many_secrets_of_a_text_are_kept() -> None:
    text = " ".join(f"aB{number}cD{number * 7}eF{number * 13}gH" for number in range(100, 900))
    kept = secret_values.find_secrets(text, secret_values.is_secret)
    assert len(kept) == secret_values.MOST_SECRETS


def test_what_has_a_uuid_is_an_id() -> None:
    assert secret_values.find_secrets(f"{UUID}-{LONG}", lambda _: True) == {}
    assert LONG in secret_values.find_secrets(f"{UUID} {LONG}", lambda _: True).values()


def test_a_text_names_its_secrets() -> None:
    text = "db_password: horse#staple\nAPI_KEY=CHANGE_ME_NOW token is required; secret: 'aB3$xyzw'"
    assert secret_values.find_named_secrets(text) == ["horse#staple", "CHANGE_ME_NOW", "aB3$xyzw"]


TOKEN = expand({"gen": "{b62:32}"}, 3)
HEX = expand({"gen": "{hex:40}"}, 3)
UUID = expand({"gen": "{uuid}"}, 3)
LINK = f"https://a.example/reset?token={TOKEN}"
MADE = {"QUOTED": quote(LINK, safe=""), "TOKEN": TOKEN, "HEX": HEX, "UUID": UUID}


def filled(text: str) -> str:
    for name, made in MADE.items():
        text = text.replace(name, made)
    return text


@each("text, token", CASES["the_token_of_a_link_that_works_once_is_a_secret"])
def test_the_token_of_a_link_that_works_once_is_a_secret(text: str, token: str) -> None:
    assert secret_values.find_one_time_secrets(filled(text)) == [filled(token)]


@each("text", CASES["other_links_have_none"])
def test_other_links_have_none(text: str) -> None:
    assert secret_values.find_one_time_secrets(filled(text)) == []


@each("text", CASES["a_code_that_works_once_is_a_secret"])
def test_a_code_that_works_once_is_a_secret(text: str) -> None:
    assert secret_values.find_one_time_secrets(text) == ["482913"]


@pytest.mark.parametrize("code", ["48213", "482-913", "482 913", "K7QX2M", "kQ4-9xT-2mP"])
def test_so_is_one_of_letters_or_in_groups(code: str) -> None:
    assert secret_values.find_one_time_secrets(f"Your security code is {code}") == [code]


@each("text", CASES["a_code_of_a_product_a_booking_or_a_country_is_none"])
def test_a_code_of_a_product_a_booking_or_a_country_is_none(text: str) -> None:
    assert secret_values.find_one_time_secrets(text) == []


pieces = st.lists(
    st.sampled_from(
        [
            *" 1<>-\n'=:İſé。",
            *("code", "is", "is ", "your login ", "password", "token_", "secret is ", "this "),
            *("482913", "482 913", "G-482913", "kQ4-9xT-2mP", "</b>", "hunter2hunter2"),
            *("your ", "reset token "),
            f"https://a.example/reset?token={TOKEN}",
            f"http://a.example/reset?token={TOKEN}",
        ]
    ),
    max_size=12,
)


@tried(500)
@given(pieces.map("".join))
@example("482913 is your login code 482914 is your login code")
@example(f"{'a1' * 3}{'-a1a1a1' * 6}<{' ' * 40}> is your login code")
@example(f"G-{'a1' * 3}{'-a1a1a1' * 6} is your login code")
@example("1<482913 is your login code >is 2")
@example("key_token_issued_for_service=hunter2hunter2")
@example('key-for-the-new-token-is-x"=hunter2hunter2')
@example(f"http://a.example/reset?token={TOKEN}")
@example("code 1 is 2" + " 482913 is your login key=hunter2hunter2" * confirm.FEW_SIGNS * 2)
def test_what_a_sign_is_asked_for_first_finds_the_same(text: str) -> None:
    forms = secret_values.find_one_time_secrets, secret_values.find_named_secrets
    ours = [form(text) for form in forms]
    secret_values._find_one_time_links.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confirm, "as_ascii", lambda _: None)
        assert ours == [form(text) for form in forms]
    secret_values._find_one_time_links.cache_clear()


def test_only_so_many_codes_and_tokens_of_a_text_are_kept() -> None:
    codes = "".join(f"Your login code is {number}. " for number in range(100_000, 100_400))
    assert len(secret_values.find_one_time_secrets(codes)) == secret_values.MOST_SECRETS
    links = "".join(f"https://a.example/reset/{TOKEN}{number} " for number in range(1400))
    assert len(secret_values.find_one_time_secrets(links)) == secret_values.MOST_TOKENS


def test_a_part_of_a_text_is_found_in_its_one_time_link() -> None:
    text = f"Reset: {LINK}&x=1 {LINK}&password={HEX}"
    start = text.index(TOKEN)
    assert secret_values.find_one_time_token(text, start, start + 34) == TOKEN
    assert secret_values.find_one_time_token(text, 7, start + 32) == TOKEN, "an address is a value"
    assert secret_values.find_one_time_token(text, 0, 5) == ""
    assert secret_values.find_one_time_token(text, start + 33, start + 35) == ""
    second = text.rindex(TOKEN)
    assert secret_values.find_one_time_token(text, second, second + 32) == "", "not bare"
    assert secret_values.find_one_time_token(text, 0, 0, TOKEN[:4]) == TOKEN
    assert secret_values.find_one_time_token(text, 5, 20, "http") == TOKEN
    assert secret_values.find_one_time_token(text, 0, 5, "http") == ""
