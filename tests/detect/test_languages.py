"""An override order is found in every language of the European Union and more; its twin passes."""

from pathlib import Path

import pytest
import yaml

from pipeguard.detect.detector import make_guard
from pipeguard.firewall.finding import Action, Direction, Verdict
from pipeguard.firewall.policy import Policy
from pipeguard.firewall.protocol.json_values import JsonObject, serialise
from pipeguard.firewall.session.session import Session
from tests.fuzz.rulebook import engines

LANGUAGES = yaml.safe_load(Path(__file__).with_name("languages.yaml").read_text("utf-8"))
TEXTS: dict[str, list[str]] = LANGUAGES["texts"]
LETTERS: dict[str, list[str]] = LANGUAGES["letters"]


def read(text: str) -> Verdict:
    session = Session(make_guard("web", engines(), Policy(), {}), "RUN")
    session.resume("2025-11-25")
    call = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_page"}}'
    session.receive(Direction.TO_SERVER, call, 1.0)
    result: JsonObject = {"content": [{"type": "text", "text": text}]}
    answer = b'{"jsonrpc":"2.0","id":1,"result":' + serialise(result) + b"}"
    return session.receive(Direction.TO_CLIENT, answer, 2.0)


@pytest.mark.parametrize("language", TEXTS)
def test_an_order_is_found_and_its_twin_passes(language: str) -> None:
    order, twin = TEXTS[language]
    assert read(order).action >= Action.CUT
    assert read(twin).action < Action.CUT


@pytest.mark.parametrize("language", LETTERS)
def test_a_letter_among_people_is_only_warned_of(language: str) -> None:
    letter, order = LETTERS[language]
    assert read(letter).action <= Action.WARN
    assert read(order).action >= Action.CUT
