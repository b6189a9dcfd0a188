"""The expressions compiled for an engine; a model is the file that its rule names."""

import pytest

from pipeguard.detect.rules.rule import load_pack
from pipeguard.detect.scanning.engine import classifier, collect_patterns, make_opener
from pipeguard.detect.scanning.readings import SIGNS, SIGNS_TO_SERVER, SQUEEZED_SIGNS
from pipeguard.errors import EngineError
from pipeguard.firewall.protocol.places import Surface
from pipeguard.rulebook.packs import model
from tests.fuzz.rulebook import ALL as RULES
from tests.rulebook.words import pack_of

RULE = load_pack(pack_of(surfaces=["definitions"], views=["text"]), "mine.yaml")
CLASSIFYING = RULES["injection.classifier"]


def test_signs_of_readings_are_looked_for_in_the_pass_of_the_rules() -> None:
    definitions = collect_patterns(RULE, Surface.DEFINITIONS, model)
    assert sum(len(group.patterns) for group in definitions.plain) == len(SIGNS) + 1
    to_server = collect_patterns(RULE, Surface.TO_SERVER, model)
    assert sum(len(group.patterns) for group in to_server.plain) == len(SIGNS) + len(
        SIGNS_TO_SERVER
    )
    assert sum(len(group.patterns) for group in to_server.squeezed) == len(SQUEEZED_SIGNS)


def test_a_classifier_names_its_opener() -> None:
    opener = collect_patterns([CLASSIFYING], Surface.TO_CLIENT, model).opener
    assert opener is not None
    assert opener.file == "injection.opener"
    assert collect_patterns([CLASSIFYING], Surface.TO_SERVER, model).opener is None


def test_an_opener_is_the_file_that_its_classifier_names() -> None:
    file = collect_patterns([CLASSIFYING], Surface.TO_CLIENT, model).opener
    for models in (lambda _: b"", lambda name: model(name) + b" "):
        opener = make_opener(file, models)
        assert opener is not None
        with pytest.raises(EngineError, match="is not the file that a classifier names"):
            opener.load()


def test_a_model_is_the_file_that_its_rule_names() -> None:
    assert classifier(CLASSIFYING, model).opener
    for models in (lambda _: b"", lambda name: model(name) + b" "):
        with pytest.raises(EngineError, match="is not the file that the rule names"):
            classifier(CLASSIFYING, models)
