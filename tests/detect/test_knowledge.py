"""What detection remembers of a server's tools."""

from pipeguard.detect.detector import get_detection, make_guard
from pipeguard.detect.knowledge import MAX_TOOLS
from pipeguard.firewall.policy import Policy
from tests.fuzz.rulebook import engines


def test_labels_of_tools_that_are_only_called_are_bounded() -> None:
    guard = make_guard("demo", engines(), Policy(), {})
    detection = get_detection(guard)
    for number in range(MAX_TOOLS + 100):
        detection.tool(guard, f"invented_{number}")
    detection.tool(guard, "x" * 10**6)
    names = detection._tools._tools
    assert len(names) == MAX_TOOLS
    assert max(map(len, names)) < 100
