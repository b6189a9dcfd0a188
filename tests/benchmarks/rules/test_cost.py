"""The cost of rules: measured, and reported if it is too high. No time is asserted."""

from collections.abc import Sequence

import pytest

from benchmarks.rules import cost
from benchmarks.rules.cost import Cost, Share, costs
from pipeguard.detect.rules.rule import Rule, load_pack
from pipeguard.detect.scanning.engine import compile_engine
from pipeguard.firewall.protocol.places import Surface
from pipeguard.rulebook.packs import load_rules, model
from tests.each import each
from tests.fuzz.rulebook import engines

PACK = r"""
pack: mine
about: Rules of several costs.
defaults: {severity: high, confidence: high, surfaces: [to-client], why: It is a test., fix: None.}
rules:
- {id: rare, title: A rare word, pattern: 'xyzzy-[0-9]{3}', matches: [xyzzy-123], passes: [xyzzy]}
- {id: common, title: A common word, pattern: 'e[a-z ]{1,40}xyzzy', sign: e,
   matches: [the xyzzy], passes: [the word]}
"""


def measured(rules: Sequence[Rule]) -> dict[str, Cost]:
    homes = [compile_engine(rules, one, model) for one in Surface]
    return {cost.rule: cost for cost in costs(rules, homes, engines())}


@pytest.fixture(scope="module")
def own() -> dict[str, Cost]:
    return measured(load_pack(PACK, "mine.yaml"))


def test_every_rule_is_measured_over_every_kind(own: dict[str, Cost]) -> None:
    kinds = list(cost.KINDS)
    assert {rule: list(cost.kinds) for rule, cost in own.items()} == dict.fromkeys(own, kinds)
    times = {(rule, name): kind for rule, cost in own.items() for name, kind in cost.kinds.items()}
    assert [key for key, kind in times.items() if not 0 < kind.confirming < kind.seconds] == []
    worst = {rule: max(kind.share for kind in cost.kinds.values()) for rule, cost in own.items()}
    assert {rule: cost.worst for rule, cost in own.items()} == worst


def test_false_candidates_are_counted_and_told(own: dict[str, Cost]) -> None:
    prose = own["mine.common"].kinds["prose"]
    assert prose.false == prose.candidates == prose.blocks
    assert "`sign`" in "".join(own["mine.common"].warnings)
    assert own["mine.rare"].kinds["prose"].candidates == 0


def test_a_rule_with_a_model_is_measured_and_one_of_what_arguments_do_is_not() -> None:
    compiled = engines()
    reading = [rule for rule in load_rules() if rule.model]
    assert reading
    found = list(costs(reading, compiled, compiled))
    assert [cost.rule for cost in found] == [rule.id for rule in reading]
    acting = [rule for rule in load_rules() if rule.id == "commands.delete-root"]
    assert list(costs(acting, compiled, compiled)) == []


@each(
    "confirming, is_model, told",
    [(0.0, False, "begin its pattern"), (0.9, False, "its own exp"), (0.9, True, "its opener")],
)
def test_what_is_slow_is_told_with_what_to_do(confirming: float, is_model: bool, told: str) -> None:
    rule = load_pack(PACK, "mine.yaml")[0]._replace(model="a.model" if is_model else "")
    kinds = {"prose": Share(1.0, confirming, 0.9, 0, 0, 16)}
    [warning] = cost._warnings(rule, kinds)
    assert warning.startswith("takes 90% over prose of a pass: ")
    assert told in warning
    assert list(cost._warnings(rule, {"prose": Share(1.0, 0.0, 0.01, 0, 0, 16)})) == []
