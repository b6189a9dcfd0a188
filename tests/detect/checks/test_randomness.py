"""What was drawn by chance, and what a person wrote."""

import pytest

from tests.detect.checks.outcomes import assert_fails, assert_holds

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
]


@pytest.mark.parametrize(("spec", "recipe"), HOLDS)
def test_a_check_holds(spec: str, recipe: str) -> None:
    assert_holds(spec, recipe)


@pytest.mark.parametrize(("spec", "recipe"), FAILS)
def test_a_check_fails(spec: str, recipe: str) -> None:
    assert_fails(spec, recipe)
