"""Findings about a message as such."""

import pytest

from pipeguard.firewall.finding import Action, Direction
from pipeguard.firewall.protocol.answers import InputRequests
from pipeguard.firewall.session.admission import find_oddities
from tests.firewall.session.talk import message

TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT


@pytest.mark.parametrize(
    ("members", "rules"),
    [
        ({"method": "x", "params": {"a": {"__proto__": 1}, "_meta": {"prototype": 1}}}, []),
        ({"method": "x", "params": {"__proto__": 1}}, ["protocol.inherited-key"]),
        ({"method": "x", "id": 1, "constructor": 1}, ["protocol.inherited-key"]),
        ({"method": "x"}, []),
        ({"id": 1, "result": {"_meta": None}}, []),
        ({"id": 1, "result": {"prototype": 1}, "prototype": 1}, ["protocol.inherited-key"]),
        ({"id": 1, "result": [], "__proto__": 1}, ["protocol.inherited-key"]),
        ({"id": 1, "error": {"code": 1, "message": "x", "constructor": 1}}, []),
    ],
)
def test_what_is_odd_is_noted_and_passes(members: dict[str, object], rules: list[str]) -> None:
    findings = find_oddities(TO_SERVER, message(**members), InputRequests())
    assert [finding.rule for finding in findings] == rules
    assert {finding.action for finding in findings} <= {Action.WARN}


def test_an_answer_to_input_that_nobody_asked_for_is_noted() -> None:
    requested = InputRequests()
    answer = message(id=1, method="tools/call", params={"inputResponses": {"city": {}}})
    assert [f.rule for f in find_oddities(TO_SERVER, answer, requested)] == [
        "protocol.unasked-answer"
    ]
    assert find_oddities(TO_CLIENT, answer, requested) == ()
    requested.record({"inputRequests": {"city": {}}})
    assert find_oddities(TO_SERVER, answer, requested) == ()
