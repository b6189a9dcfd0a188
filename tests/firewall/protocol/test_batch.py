"""Several messages in one frame: when they are allowed, and their common verdict."""

from __future__ import annotations

import pytest

from pipeguard.firewall.finding import Action, Direction, Finding, MessageKind, Verdict
from pipeguard.firewall.protocol import batch, codes
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.protocol.strict_json import parse_json

PING = '{"id":1,"method":"ping"}'


def members(text: str) -> list[JsonValue]:
    read = parse_json(text.encode())
    assert isinstance(read, list)
    return read


@pytest.mark.parametrize(
    ("text", "revision", "rule"),
    [
        (f"[{PING}]", "2025-06-18", "protocol.batch"),
        (f"[{PING}]", None, "protocol.batch"),
        ("[]", batch.REVISION, "protocol.batch-size"),
        (f"[{','.join([PING] * 101)}]", batch.REVISION, "protocol.batch-size"),
        ('[{"id":1,"method":"initialize"}]', batch.REVISION, "protocol.batch-initialize"),
        (f'[{PING},{{"id":2,"result":{{}}}}]', batch.REVISION, "protocol.batch-mixed"),
        (f"[{PING},[]]", batch.REVISION, "protocol.batch-mixed"),
        (f"[{PING},{PING}]", batch.REVISION, "protocol.batch-ids"),
    ],
)
def test_a_batch_is_refused(text: str, revision: str | None, rule: str) -> None:
    with pytest.raises(batch._RefusedBatch) as refused:
        batch.check(members(text), revision)
    assert (refused.value.rule, refused.value.code) == (rule, codes.INVALID_REQUEST)


MANY = ",".join(f'{{"id":{number},"method":"ping"}}' for number in range(100))


@pytest.mark.parametrize("text", [f"[{MANY}]", '[{"id":1,"result":{}}]', "[1]"])
def test_a_batch_passes(text: str) -> None:
    batch.check(members(text), batch.REVISION)


def test_of_a_refused_batch_the_requests_are_known_by_their_ids() -> None:
    text = f'[{PING},{{"id":"a","method":7}},{{"id":2,"result":{{}}}},{{"method":"x"}},7,'
    text += '{"id":null,"method":"x"},{"id":1.5,"method":"x"}]'
    with pytest.raises(batch._RefusedBatch) as refused:
        batch.check(members(text), None)
    assert refused.value.ids.requests == ["1", '"a"']


def verdict(frame: bytes, forward: bytes | None, *findings: Finding) -> Verdict:
    reply = None if forward else b"{}"
    action = max((finding.action for finding in findings), default=Action.ALLOW)
    to = Direction.TO_SERVER
    return Verdict(to, frame, action, forward, reply, findings, "RUN.c1.0", MessageKind.REQUEST)


def test_the_frame_itself_goes_on_where_all_of_it_does() -> None:
    frame, one = b'[ {"id":1}]', b'{"id":1}'
    made = batch.together(Direction.TO_SERVER, frame, [verdict(one, one)], "RUN.c1")
    assert made.forward is frame
    assert (made.action, made.reply, made.method) == (Action.ALLOW, None, "batch")


def test_what_passes_goes_on_without_the_rest() -> None:
    one, two = b'{"id":1}', b'{"id":2}'
    verdicts = [verdict(one, one), verdict(two, None, Finding("secrets.x", "call.arguments"))]
    made = batch.together(Direction.TO_SERVER, b"[]", verdicts, "RUN.c1")
    assert (made.action, made.forward, made.reply) == (Action.BLOCK, b'[{"id":1}]', b"[{}]")
