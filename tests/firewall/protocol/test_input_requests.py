"""Input that results asked for: the newest, by hashes, and answers to anything else."""

import pytest

from pipeguard.firewall.protocol.answers import MAX_REMEMBERED, InputRequests
from pipeguard.firewall.protocol.json_values import JsonObject

ASKED: JsonObject = {"inputRequests": {"city": {}, "day": {}}, "requestState": "s"}


@pytest.mark.parametrize(
    ("params", "is_covered"),
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
def test_an_answer_is_to_what_was_asked(params: JsonObject, is_covered: bool) -> None:
    requested = InputRequests()
    requested.record(ASKED)
    assert requested.cover(params) is is_covered


def test_what_asks_nothing_is_no_question() -> None:
    requested = InputRequests()
    requested.record({"inputRequests": ["city"]})
    assert not requested.cover({"inputResponses": {"city": {}}})


def test_only_the_newest_are_remembered() -> None:
    requested = InputRequests()
    for number in range(MAX_REMEMBERED + 1):
        requested.record({"inputRequests": {f"k{number}": {}}, "requestState": f"s{number}"})
    assert not requested.cover({"inputResponses": {"k0": {}}})
    assert not requested.cover({"requestState": "s0"})
    assert requested.cover({"inputResponses": {"k1": {}}, "requestState": "s1"})
