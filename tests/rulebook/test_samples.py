"""Recipes of samples: the same text for the same seed, and no text for a recipe that is wrong."""

import re

import pytest

from pipeguard.detect.checks.placeholders import entropy, is_placeholder
from pipeguard.detect.checks.registry import run
from pipeguard.errors import RuleError
from pipeguard.rulebook.samples import expand
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)


def test_a_plain_string_stands_for_itself() -> None:
    assert expand("{b62:30} is no recipe here", 1) == "{b62:30} is no recipe here"


def test_the_seed_alone_decides() -> None:
    recipe = {"gen": "{b62:30} {uuid} {jwt} {stellar}"}
    assert expand(recipe, 7) == expand(recipe, 7)
    assert expand(recipe, 7) != expand(recipe, 8)


@each("recipe, shape", CASES["a_generator_keeps_to_its_alphabet_and_length"])
def test_a_generator_keeps_to_its_alphabet_and_length(recipe: str, shape: str) -> None:
    for seed in range(5):
        assert re.fullmatch(shape, expand({"gen": recipe}, seed))


@each("recipe, check", CASES["a_checksum_is_the_one_that_the_check_computes"])
def test_a_checksum_is_the_one_that_the_check_computes(recipe: str, check: str) -> None:
    for seed in range(5):
        secret = expand({"gen": recipe}, seed).encode()
        assert run(check, secret) is True
        wrong = secret[:-1] + (b"3" if secret.endswith(b"2") else b"2")
        assert run(check, wrong) is False


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


@each("recipe, what", CASES["a_recipe_that_is_wrong_is_refused"])
def test_a_recipe_that_is_wrong_is_refused(recipe: str, what: str) -> None:
    with pytest.raises(RuleError, match=re.escape(what)):
        expand({"gen": recipe}, 1)
    with pytest.raises(RuleError, match="recipe"):
        expand({"text": recipe}, 1)
