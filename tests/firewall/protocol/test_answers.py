"""The shape of answers: well-formed ones, and those that create a task."""

import pytest

from pipeguard.errors import Refusal
from pipeguard.firewall.protocol.answers import check_answer, creates_task
from pipeguard.firewall.protocol.strict_json import parse_json


def test_a_task_is_made_by_its_result() -> None:
    assert creates_task({"task": {}})
    assert creates_task({"resultType": "task", "taskId": "t"})
    assert not creates_task({"task": "done"})
    assert not creates_task({"resultType": "complete"})


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('{"result":{"_meta":{}}}', None),
        ('{"result":{"_meta":null,"content":[{"_meta":null}]}}', None),
        ('{"result":[]}', "protocol.malformed-answer"),
        ('{"result":{"_meta":1}}', "protocol.meta-not-an-object"),
        ('{"result":{"content":[{"_meta":[]}]}}', "protocol.meta-not-an-object"),
        ('{"result":{"contents":[{"resource":{"_meta":""}}]}}', "protocol.meta-not-an-object"),
        (
            '{"result":{"inputRequests":{"a":{"params":{"_meta":1}}}}}',
            "protocol.meta-not-an-object",
        ),
    ],
)
def test_an_answer_of_another_shape_is_refused(text: str, rule: str | None) -> None:
    value = parse_json(text.encode())
    assert isinstance(value, dict)
    if rule is None:
        check_answer(value, "7")
        return
    with pytest.raises(Refusal) as refused:
        check_answer(value, "7")
    assert (refused.value.rule, refused.value.id_token) == (rule, "7")
