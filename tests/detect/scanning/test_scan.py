"""One value while rules run over its readings: matches, their positions, and their cost."""

import pytest

from pipeguard.detect.commands.argument_usage import Uses
from pipeguard.detect.rules.rule import View
from pipeguard.detect.scanning.origin import Origin
from pipeguard.detect.scanning.scan import Scan
from pipeguard.detect.scanning.scan_budget import ScanInput
from pipeguard.detect.text.document import MessageText
from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.protocol.places import Surface
from tests.fuzz.rulebook import engines

KEY = "ghp_" + "Z7QX4M2N5P6R3STV" * 2 + "abcd"


def scan_of(value: JsonValue, budgets: Budgets | None = None) -> Scan:
    text = MessageText(value, keyed=True)
    budgets = budgets or Budgets()
    budgets.grow(len(text.data))
    source = ScanInput(text, lambda _: "call.arguments", keyed=True, uses=Uses(text, None))
    return Scan(engines().to_server, source, Surface.TO_SERVER, budgets)


def test_rules_are_run_over_a_reading_and_say_which_signs_are_in_it() -> None:
    scan = scan_of({"a": f"see {KEY} and %41%42%43"})
    signs = scan.run_rules(scan.data, View.TEXT, Origin(scan.source, "text"))
    assert "percent" in signs
    (match,) = scan.result().matches
    assert (match.rule.id, match.path, match.view) == ("secrets.github-token", ("a",), "text")
    assert (match.start, match.end) == (4, 4 + len(KEY))


def test_a_rule_is_not_run_over_a_view_that_it_does_not_name() -> None:
    scan = scan_of({"a": KEY})
    scan.run_rules(scan.data, View.ACTS, Origin(scan.source, "text"))
    assert scan.result().matches == []


def test_what_is_encoded_twice_is_decoded_twice_and_no_more() -> None:
    def percent(text: str) -> str:
        return "".join(f"%{byte:02x}" for byte in text.encode())

    def views(text: str) -> list[str]:
        scan = scan_of({"a": f"see {text} there"})
        signs = scan.run_rules(scan.data, View.TEXT, Origin(scan.source, "text"))
        scan.decode(scan.data, signs, Origin(scan.source, ""))
        return [match.view for match in scan.result().matches]

    assert views(percent(KEY)) == ["percent"]
    assert views(percent(percent(KEY))) == ["percent>percent"]
    assert views(percent(percent(percent(KEY)))) == []


def test_what_would_cost_too_much_to_decode_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeguard.firewall.budgets.BYTE_NS", 0)
    budgets = Budgets()
    budgets._left_ns = 0
    scan = scan_of({"a": "%41 " * 100}, budgets)
    signs = scan.run_rules(scan.data, View.TEXT, Origin(scan.source, "text"))
    budgets.is_exceeded = False
    scan.decode(scan.data, signs, Origin(scan.source, ""))
    assert scan.result().has_undecoded


@pytest.mark.parametrize("name", ["percent", "acts"])
def test_a_sign_is_known_wherever_it_was_seen(name: str) -> None:
    scan = scan_of({"command": "%41%42"})
    scan.folded_signs = {"acts": [(0, 5)]}
    scan.signs = {"percent": [(2, 4)]}
    assert not scan.ranges("windows")
    assert scan.ranges(name) == {"percent": [(2, 4)], "acts": [(0, 5)]}[name]
