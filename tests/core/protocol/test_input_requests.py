"""What results asked of the client: only the newest, by hashes, and any answer held to it."""

from __future__ import annotations

import pytest

from pipeguard.core.protocol.input_requests import MAX_REMEMBERED, Questions
from pipeguard.core.protocol.json_values import JsonObject

ASKED: JsonObject = {"inputRequests": {"city": {}, "day": {}}, "requestState": "s"}


@pytest.mark.parametrize(
    ("params", "known"),
    [
        ({"inputResponses": {"city": {}}}, True),
        ({"inputResponses": {"city": {}, "day": {}}, "requestState": "s"}, True),
        ({"inputResponses": {}}, True),
        ({"inputResponses": "no object", "requestState": None}, True),
        ({"requestState": "s"}, True),
        ({"inputResponses": {"City": {}}}, False),
        ({"inputResponses": {"city": {}}, "requestState": "t"}, False),
        ({"requestState": ["s"]}, False),
    ],
)
def test_an_answer_is_to_what_was_asked(params: JsonObject, known: bool) -> None:
    questions = Questions()
    questions.ask(ASKED)
    assert questions.are_answered_by(params) is known


def test_what_asks_nothing_is_no_question() -> None:
    questions = Questions()
    questions.ask({"inputRequests": ["city"]})
    assert not questions.are_answered_by({"inputResponses": {"city": {}}})


def test_only_the_newest_are_remembered() -> None:
    questions = Questions()
    for number in range(MAX_REMEMBERED + 1):
        questions.ask({"inputRequests": {f"k{number}": {}}, "requestState": f"s{number}"})
    assert not questions.are_answered_by({"inputResponses": {"k0": {}}})
    assert not questions.are_answered_by({"requestState": "s0"})
    assert questions.are_answered_by({"inputResponses": {"k1": {}}, "requestState": "s1"})
