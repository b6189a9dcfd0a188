"""The actions of a day are parsed and played; harmful variants of them are stopped."""

import os
import sys
from collections import Counter
from functools import cache

import pytest

from benchmarks.day.__main__ import HEADS, figures_of, parts
from benchmarks.day.actions import Action, Expect, load
from benchmarks.day.outside import play_outside
from benchmarks.day.play import Outcome, play
from benchmarks.detection.cases import Split
from benchmarks.frames.client import Wrapper
from tests.fuzz.rulebook import engines

LANGUAGES = {"en", "de", "es", "fr", "zh"}


@cache
def by_id() -> dict[str, Action]:
    return {action.id: action for action in load()}


def test_there_are_six_hundred_actions_and_both_halves_have_their_share() -> None:
    twins = Counter(action.expect is Expect.STOP for action in by_id().values())
    assert twins == {False: 616, True: 160}
    splits = Counter(action.split for action in by_id().values())
    assert min(splits.values()) > 250
    assert {action.language for action in by_id().values()} == LANGUAGES


def test_secrets_are_minted_and_the_same_in_all_steps_of_an_action() -> None:
    action = by_id()["elsewhere-readme"]
    assert len(action.steps) == 2
    text = str(action.steps)
    assert "{{mint" not in text
    assert all(secret in text for secret in action.secrets)


@pytest.mark.parametrize(
    ("name", "outcome", "is_right"),
    [
        ("code-auth-service", Outcome.PASSED, True),
        ("seed-mongo", Outcome.PASSED, True),  # a hash that documentation prints
        ("seed-liquibase", Outcome.WARNED, True),
        ("read-crypto-key", Outcome.REDACTED, True),
        ("sh-jq", Outcome.WARNED, True),  # raw lines, of a file that is named so
        ("raw-jailbreaks", Outcome.WITHHELD, False),  # of these, one speaks of keys
        ("sent-body", Outcome.BLOCKED, True),
        ("comment-test-guard", Outcome.CUT, True),
    ],
)
def test_an_action_gets_what_a_person_would_expect(
    name: str, outcome: Outcome, *, is_right: bool
) -> None:
    played = play(by_id()[name], engines())
    assert (played.outcome, played.is_right) == (outcome, is_right)


@pytest.mark.skipif(sys.platform == "win32", reason="its pipes have no names in a folder")
def test_a_wrapper_is_judged_from_outside() -> None:
    command = Wrapper.parse(f"{sys.executable} -m pipeguard wrap")
    names = {"sent-body": Outcome.BLOCKED, "code-auth-service": Outcome.PASSED}
    for name, outcome in (names | {"comment-test-guard": Outcome.CUT}).items():
        played = play_outside(by_id()[name], command, os.environ["XDG_CACHE_HOME"])
        assert played.outcome is outcome


def test_what_is_tuned_on_lets_no_twin_pass() -> None:
    twins = [
        action
        for action in by_id().values()
        if action.expect is Expect.STOP and action.split is Split.TUNED
    ]
    assert [action.id for action in twins if not play(action, engines()).is_right] == []


def test_figures_are_counted_by_kind() -> None:
    plays = [play(by_id()[name], engines()) for name in ("raw-jailbreaks", "sh-redis", "sent-body")]
    counted = {name: figures_of(part) for name, part in parts(plays).items()}
    assert sum(kinds["all"]["actions"] for kinds in counted.values()) == 3
    assert sum(kinds["all"]["wrong"] for kinds in counted.values()) == 1
    assert all(tuple(kinds["all"]) == HEADS[1:] for kinds in counted.values())
