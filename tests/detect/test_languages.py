"""An override order is found in every language of the European Union and more; its twin passes."""

from pathlib import Path

import pytest
import yaml

from pipeguard.firewall.finding import Action
from tests.detect.text.messages import judge_result

LANGUAGES = yaml.safe_load(Path(__file__).with_name("languages.yaml").read_text("utf-8"))
TEXTS: dict[str, list[str]] = LANGUAGES["texts"]
LETTERS: dict[str, list[str]] = LANGUAGES["letters"]


@pytest.mark.parametrize("language", TEXTS)
def test_an_order_is_found_and_its_twin_passes(language: str) -> None:
    order, twin = TEXTS[language]
    assert judge_result(order).action >= Action.CUT
    assert judge_result(twin).action < Action.CUT


@pytest.mark.parametrize("language", LETTERS)
def test_a_letter_among_people_is_only_warned_of(language: str) -> None:
    letter, order = LETTERS[language]
    assert judge_result(letter).action <= Action.WARN
    assert judge_result(order).action >= Action.CUT
