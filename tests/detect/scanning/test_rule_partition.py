"""Each rule has one engine for each surface, and engines know which rules they compile."""

from collections import Counter
from itertools import chain

from pipeguard.detect.rules.rule import Rule, View
from pipeguard.detect.scanning import rule_groups
from pipeguard.firewall.protocol.places import Surface
from tests.detect.cases import read_cases
from tests.each import each
from tests.fuzz.rulebook import ALL as RULES

CASES = read_cases(__file__)


def test_each_rule_is_run_over_each_of_its_surfaces_by_one_engine() -> None:
    run = Counter(
        (rule.id, surface)
        for engine in Surface
        for rule in rule_groups.select_rules(RULES.values(), engine)
        for surface in rule.surfaces
    )
    assert run == Counter((r.id, surface) for r in RULES.values() for surface in r.surfaces)


def test_nothing_is_squeezed_where_nothing_goes_to_a_server() -> None:
    (rule,) = (r for r in RULES.values() if r.id == "secrets.github-token")
    assert View.SQUEEZED in rule.views
    (there,) = rule_groups.select_rules([rule], Surface.TO_CLIENT)
    assert View.SQUEEZED not in there.views
    assert there.surfaces == {Surface.TO_CLIENT}


def test_rules_are_read_when_one_of_them_is_first_needed() -> None:
    reads = 0

    def read() -> list[Rule]:
        nonlocal reads
        reads += 1
        return list(RULES.values())

    rules = rule_groups.EngineRules(read, Surface.TO_SERVER, frozenset({Surface.TO_SERVER}))
    assert rules.surfaces == {Surface.TO_SERVER}
    assert reads == 0
    assert rules.all
    assert rules.plain
    assert rules.over_acts
    assert reads == 1
    assert rule_groups.EngineRules(read, Surface.TO_SERVER).surfaces == {
        surface for rule in rules.all for surface in rule.surfaces
    }


def test_secrets_and_the_others_and_the_users_own_are_compiled_apart() -> None:
    mine = RULES["secrets.jwt"]._replace(own=True)
    both = [mine, *RULES.values()]
    phrases, private, *leaving, others, asking, own = rule_groups.in_groups(
        [*rule_groups.select_rules(both, Surface.TO_SERVER)]
    )
    assert [rule.id for rule in own] == [mine.id]
    assert {rule.is_private for rule in (*phrases, *private, *chain(*leaving))} == {True}
    assert {rule.is_private for rule in others} == {False}
    to_client = rule_groups.in_groups(
        [*rule_groups.select_rules(RULES.values(), Surface.TO_CLIENT)]
    )
    assert [rule.id for rule in private] == [rule.id for rule in to_client[1]]
    assert all(leaving)
    assert not any(to_client[2:4])
    assert [r.id for r in to_client[5] if not r.is_for_asking] == ["injection.decoded-order"]
    assert not any(rule.is_for_asking for rule in (*to_client[4], *others, *asking))
    assert not any(rule.views <= {View.SQUEEZED, View.ACTS} for rule in (*private, *others))


@each("pattern, squeezed", CASES["a_pattern_for_a_text_without_spaces_has_none"])
def test_a_pattern_for_a_text_without_spaces_has_none(pattern: str, squeezed: str) -> None:
    rule = RULES["injection.override-instructions"]._replace(
        pattern=pattern, views=frozenset({View.SQUEEZED})
    )
    assert rule_groups.squeezed_pattern(rule)[0] == squeezed
    assert rule_groups.squeezed_pattern(rule._replace(views=frozenset({View.TEXT})))[0] == ""
