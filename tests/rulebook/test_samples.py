"""Recipes of samples: the same text for the same seed, and no text for a recipe that is wrong."""

import re

import pytest

from pipeguard.detect.checks.outcome import Outcome
from pipeguard.detect.checks.placeholders import entropy, is_placeholder
from pipeguard.detect.checks.registry import run
from pipeguard.errors import RuleError
from pipeguard.rulebook.samples import expand


def test_a_plain_string_stands_for_itself() -> None:
    assert expand("{b62:30} is no recipe here", 1) == "{b62:30} is no recipe here"


def test_the_seed_alone_decides() -> None:
    recipe = {"gen": "{b62:30} {uuid} {jwt} {stellar}"}
    assert expand(recipe, 7) == expand(recipe, 7)
    assert expand(recipe, 7) != expand(recipe, 8)


@pytest.mark.parametrize(
    ("recipe", "shape"),
    [
        ("{hex:20}", "[0-9a-f]{20}"),
        ("{d:9}", "[0-9]{9}"),
        ("{b62:20}", "[0-9A-Za-z]{20}"),
        ("{b32:20}", "[A-Z2-7]{20}"),
        ("{base58:20}", "[1-9A-HJ-NP-Za-km-z]{20}"),
        ("{A-Z2-7:5}", "[A-Z2-7]{5}"),
        ("{[AQgw]:1}", "[AQgw]"),
        ("{uuid}", "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
        ("{bytes:3}", "[0-9A-Za-z+/]{4}"),
        ("A{}B{{C}}", r"AB\{C\}"),
        ("{upper ab{d:1}}", "AB[0-9]"),
        ('{base64url {{"a":{d:1}}}}', r"eyJhIjo[0-9A-Za-z_-]{3,4}"),
    ],
)
def test_a_generator_keeps_to_its_alphabet_and_length(recipe: str, shape: str) -> None:
    for seed in range(5):
        assert re.fullmatch(shape, expand({"gen": recipe}, seed))


@pytest.mark.parametrize(
    ("recipe", "check"),
    [
        ("ghp_{b62:30}{github-crc}", "github-crc"),
        ("411111{d:9}{luhn}", "luhn"),
        ("{base58check 80 32 01}", "base58check"),
        ("{stellar}", "stellar"),
    ],
)
def test_a_checksum_is_the_one_that_the_check_computes(recipe: str, check: str) -> None:
    for seed in range(5):
        secret = expand({"gen": recipe}, seed).encode()
        assert run(check, secret) is Outcome.HOLDS
        wrong = secret[:-1] + (b"3" if secret.endswith(b"2") else b"2")
        assert run(check, wrong) is Outcome.FAILS


def test_a_checksum_covers_what_comes_after_the_mark_alone() -> None:
    text = expand({"gen": "token is {start}glsa_{[A]:1}{grafana-crc}"}, 1)
    assert text == expand({"gen": "token is glsa_A"}, 1) + expand(
        {"gen": "glsa_A{grafana-crc}"}, 1
    ).removeprefix("glsa_A")


def test_a_run_never_looks_made_up() -> None:
    for seed in range(200):
        run_of = expand({"gen": "{b62:30}"}, seed).encode()
        assert not is_placeholder(run_of)
        assert entropy(run_of) > 3.8
        assert re.search(rb"[0-9]", run_of)
        assert re.search(rb"[a-z]", run_of)
        assert re.search(rb"[A-Z]", run_of)


@pytest.mark.parametrize(
    ("recipe", "what"),
    [
        ("{nothing}", "no generator is called 'nothing'"),
        ("{gitub-crc}", "Did you mean `github-crc`?"),
        ("{number us-sn}", "Did you mean `us-ssn`?"),
        ("{base58check}", "lacks what base58check needs"),
        ("HERON-[0-9]{4}", "no generator is called '4'"),
        ("{b62:3", "never closes in '{b62:3'. A literal brace is doubled: {{"),
        ("a}", "never opened, in 'a}' at 1. A literal brace is doubled: {{"),
        ("{[]:3}", "is empty"),
        ("{[xxxxxxxxxxxxabc]:40}", "placeholder"),
    ],
)
def test_a_recipe_that_is_wrong_is_refused(recipe: str, what: str) -> None:
    with pytest.raises(RuleError, match=re.escape(what)):
        expand({"gen": recipe}, 1)
    with pytest.raises(RuleError, match="recipe"):
        expand({"text": recipe}, 1)
