"""A value is shown to the user only by an elicitation."""

import pytest

from pipeguard.detect.commands.argument_usage import Uses
from pipeguard.detect.scanning.scan_budget import ScanInput
from pipeguard.detect.text.document import MessageText
from pipeguard.firewall.protocol.json_values import JsonValue, Path
from pipeguard.firewall.protocol.places import Surface

QUESTION: JsonValue = {"mode": "form", "message": "Your name?"}


def place_of(path: Path) -> str:
    return "elicitation.message" if path == ("message",) else "request.other"


@pytest.mark.parametrize(
    ("value", "surface", "expected"),
    [
        (QUESTION, Surface.TO_CLIENT, True),
        (QUESTION, Surface.DEFINITIONS, False),
        ({"mode": "form"}, Surface.TO_CLIENT, False),
    ],
)
def test_an_elicitation_asks_the_user(value: JsonValue, surface: Surface, expected: bool) -> None:
    text = MessageText(value, keyed=False)
    source = ScanInput(text, place_of, keyed=False, uses=Uses(text, None))
    assert source.asks_the_user(surface) is expected
