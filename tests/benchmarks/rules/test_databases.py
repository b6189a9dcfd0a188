"""A pattern that costs too much is told, unless costly.yaml has a reason. No time is asserted."""

from benchmarks.rules import databases
from pipeguard.detect.scanning.readings import SIGNS
from pipeguard.detect.text.encoding import make_pattern
from pipeguard.rulebook.packs import load_rules


def test_each_pattern_has_its_name() -> None:
    found = [each for each in databases.databases(load_rules()) if not each.is_squeezed]
    named = {name: text for each in found for name, text in zip(each[1], each[2], strict=True)}
    signs = {name: (make_pattern(sign), False) for name, sign in SIGNS.items()}
    assert signs.items() <= named.items()


def test_only_a_costly_pattern_without_a_reason_is_told() -> None:
    allowed, measured = {"known": 2.0, "idle": 0.4}, {"known": 2.9, "idle": 0.1, "new": 0.3}
    assert [line[:3] for line in databases.find_costly(measured, allowed)] == ["new"]
    assert [line[:4] for line in databases.find_needless(measured, allowed)] == ["idle"]
