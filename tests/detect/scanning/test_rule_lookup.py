"""Rules that could match in a block, and the confirmation of a match."""

import pytest

from pipeguard.detect.rules.rule import View
from pipeguard.detect.scanning.readings import SIGNS, SIGNS_TO_SERVER
from pipeguard.firewall.protocol.places import Surface
from tests.fuzz.rulebook import engines, samples

TOKEN = b"ghp_" + b"Z7QX4M2N5P6R3STV" * 2 + b"abcd"


def test_signs_and_rules_of_a_block_are_told_apart() -> None:
    look = engines().to_server
    signs, rules = look.look_plain(b"text: see " + TOKEN + b" and %41%42")
    assert "percent" in signs
    assert set(signs) <= {*SIGNS, *SIGNS_TO_SERVER, "acts", "windows", "literals"}
    assert "secrets.github-token" in {rule.id for rule in rules}
    assert look.look_plain(b"text: a fine day")[1] == []


@pytest.mark.parametrize("surface", Surface)
@pytest.mark.parametrize("view", [View.TEXT, View.FOLDED, View.JOINED, View.DECODED])
def test_what_matters_for_a_reading_finds_all_that_all_databases_do(
    surface: Surface, view: View
) -> None:
    data = "\n".join(dict.fromkeys(sample.text for sample in samples())).encode()
    for engine in engines().over(surface):
        signs, rules = engine.look_plain(data)
        wanted = [rule for rule in rules if view in rule.views and surface in rule.surfaces]
        chosen = engine.choose(view, surface)
        assert chosen is not None
        signs_there, rules_there = engine.look_plain(data, only=chosen)
        assert signs_there == signs
        assert [rule for rule in rules_there if rule in wanted] == wanted
        without_signs = engine.choose(view, surface, signs=False)
        assert engine.look_plain(data, only=without_signs)[0] == []
    assert engines().to_server.choose(View.JOINED, Surface.TO_SERVER, signs=False) == (7,)
