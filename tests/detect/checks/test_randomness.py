"""Random texts, and texts that a person wrote."""

import pytest

from pipeguard.detect.checks.outcome import AROUND, Outcome
from pipeguard.detect.checks.registry import run
from tests.detect.cases import read_cases
from tests.detect.checks.outcomes import assert_outcome, rows
from tests.each import each

CASES = read_cases(__file__)

VALUE = b"kg7DTkQN7Finto3DSR7CkA83jd02"

HOLDS = [
    ("entropy 3.5", "{b62:30}"),
    ("not-hex", "{b62:40}"),
    ("mixed", "{b62:20}"),
    ("mixed", "abc123"),
    ("random-case", "hf_{A-Za-z:34}"),
    ("not-identifier", "{b62:30}"),
    ("not-identifier", "qkQGVPmITa"),
    ("not-identifier", "correct#horse"),
    ("name-secret", "COLUMN_API_KEY="),
    ("around-not-commit", "github_token={hex:40}"),
    ("around-not-commit", "token@{b62:40}"),
    ("random", "SHA256:{b64:50}"),
]

FAILS = [
    ("entropy 3.5", "aaaaaaaabbbb"),
    ("entropy 0.1", ""),
    ("not-hex", "{hex:40}"),
    ("mixed", "words-without-more"),
    ("mixed", ""),
    ("random-case", "getUserNameFromTheDatabaseByItsKey"),
    ("random-case", "hf_{a-z:34}"),
    ("not-identifier", "next_page_token"),
    ("not-identifier", "config.apiKey"),
    ("not-identifier", "/etc/app/v2"),
    ("not-identifier", "HTMLParserV2"),
    ("name-secret", "column_key="),
    ("name-secret", "PUBLIC_API_KEY="),
    ("around-not-commit", "create-github-app-token@{hex:40}"),
    ("random", "Ag{[A-D]:1}{b64:300}"),
    ("random", "FLWSECK_TEST-{la:32}-X"),
    ("random", "SHA256:{b64:43}"),
]


@rows(HOLDS, FAILS)
def test_a_check_has_its_answer(spec: str, recipe: str, outcome: Outcome) -> None:
    assert_outcome(spec, recipe, outcome)


UNLABELLED = [
    "body: {}",
    "to: \nana@acme.test\nsubject: the order\nbody: it is {} and works until Friday",
    "content: for Pat\n{}\n",
    'body: {{"text": "{}"}}',
    "url: https://collect.acme.test/?d={}",
    "command: curl -d {} https://collect.acme.test/",
]
LABELLED = [
    'body: {{"cursor": "{}"}}',
    "text: my public key is\n{}",
    "file_ids: \n{}",
    "url: https://acme.test/?cursor={}",
    "command: grep {} app.log",
    "text: {0}\n{0}\n{0}",
    "body: your voucher\n{}\nis valid until May",
    "text: votre réservation :\n{}",
    "body: Abmelden: https://news.acme.test/abmelden?m={}",
    "url: https://click.acme.test/r?d={}",
]
# What the value is, and what is searched for.
SEARCHES = [
    ("sony+wh-1000xm5+vs+bose+qc45", False),
    ("STM32F407VGT6-ND+GRM188R71H104KA93D", False),
    ("q7Wz4Rt9+Lm2Kx8Vb3Nc6Pd5Gh1Js0Tf", True),
]


@pytest.mark.parametrize("text", [*UNLABELLED, *LABELLED])
def test_a_value_has_a_label_or_none(text: str) -> None:
    around = VALUE + AROUND + text.format(VALUE.decode()).encode()
    assert run("around-unlabelled", around) is (text in UNLABELLED)


@pytest.mark.parametrize(("value", "outcome"), SEARCHES)
def test_words_that_are_searched_for_are_no_value(value: str, outcome: Outcome) -> None:
    around = f"url: https://acme.test/search?q={value}"
    assert run("around-unlabelled", value.encode() + AROUND + around.encode()) is outcome


PRINT = "A4D18E0B7C2F965D31E80A7B4C9F26D5E3018B7C"


@each("text, outcome", CASES["the_fingerprint_of_a_key_is_no_secret"])
def test_the_fingerprint_of_a_key_is_no_secret(text: str, outcome: str) -> None:
    around = text.format(PRINT)
    match = around[: around.index(PRINT)] + PRINT
    with_text = f"{match}{AROUND.decode()}{around}".encode()
    assert run("around-not-fingerprint", with_text) is (outcome == "HOLDS")


@each("value, outcome", CASES["ids_of_known_forms_are_known"])
def test_ids_of_known_forms_are_known(value: str, outcome: str) -> None:
    assert run("no-known-id", value.encode()) is (outcome == "HOLDS")
