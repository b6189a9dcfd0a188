"""Labels: a tool's capabilities, as far as its definition tells."""

from functools import reduce
from operator import or_

from hypothesis import given

from pipeguard.detect.flows.tool_labels import Label, make_tool, meanings
from pipeguard.firewall.protocol.json_values import JsonObject
from tests.detect.cases import read_cases
from tests.each import each
from tests.fuzz.budget import tried
from tests.fuzz.values import texts

CASES = read_cases(__file__)


def find_labels(name: str, definition: JsonObject | None) -> Label:
    return make_tool(name, definition).labels


def named(labels: str) -> Label:
    return reduce(or_, map(Label.__getitem__, labels.split()), Label.NONE)


def takes(*names: str) -> JsonObject:
    properties: JsonObject = {name: {"type": "string"} for name in names}
    return {"inputSchema": {"type": "object", "properties": properties}}


@each("name, parameters, description, labels", CASES["what_a_tool_does_is_told_by_its_definition"])
def test_what_a_tool_does_is_told_by_its_definition(
    name: str, parameters: list[str] | None, description: str, labels: str
) -> None:
    definition = None if parameters is None else takes(*parameters) | {"description": description}
    assert find_labels(name, definition) == named(labels)


@each("name, description, labels", CASES["a_tool_is_known_by_what_is_said_of_it"])
def test_a_tool_is_known_by_what_is_said_of_it(name: str, description: str, labels: str) -> None:
    assert named(labels) in find_labels(name, {"description": description})


@each("name, description", CASES["what_is_published_is_not_private"])
def test_what_is_published_is_not_private(name: str, description: str) -> None:
    assert not find_labels(name, {"description": description}) & Label.READS_PRIVATE


@each("name, holds", CASES["what_is_there_to_be_given_secrets_is_known"])
def test_what_is_there_to_be_given_secrets_is_known(name: str, holds: bool) -> None:
    assert bool(find_labels(name, None) & Label.HOLDS) is holds


def test_what_goes_to_a_sink_is_looked_up() -> None:
    names = ("http_post", "get_env", "read_file", "add_numbers")
    is_sink = [make_tool(name, None).is_sink for name in names]
    assert is_sink == [True, False, False, True]  # of the last, nothing tells what it does


# --- words of names ----------------------------------------------------------------------------


@each("name", CASES["what_sends_is_known"])
def test_what_sends_is_known(name: str) -> None:
    assert find_labels(name, None) & Label.SENDS


def test_english_has_no_meaning_in_another_language() -> None:
    for text in ("get_weather", "list the archives", "parameters of a page", "kinder born maas"):
        assert not meanings(text), text


@tried(100)
@given(texts)
def test_any_text_has_an_answer(text: str) -> None:
    assert meanings(text) <= meanings(f"{text} senden") | {"send"}
