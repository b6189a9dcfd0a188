"""Batches over HTTP, in the one revision that has them and in others (2025-03-26 basic/transports).

No client of an official SDK sends any, so raw sockets do.
"""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.hostile.conftest import Hop
from tests.hostile.wire import (
    INITIALIZED,
    OPENING,
    SESSIONS,
    Reply,
    Seen,
    Upstream,
    ask,
    post,
    response,
)
from tests.wrap.wrapped import Json, Object

BATCHES = "2025-03-26"
INVALID_REQUEST = -32600
NEWS: Object = {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}


def many(*messages: Object) -> bytes:
    return json.dumps(messages).encode()


def session(hop: Hop, upstream: Upstream, revision: str) -> str:
    """Shake hands in this revision, with a server that answers batches."""

    def scripted(seen: Seen) -> Reply | None:
        message: Json = json.loads(seen.body) if seen.body else None
        if isinstance(message, list):
            asked = [one for one in message if isinstance(one, dict) and "id" in one]
            answers: list[Object] = [
                {"jsonrpc": "2.0", "id": one["id"], "result": {"prompts": []}} for one in asked
            ]
            return [response("200 OK", many(*answers)) if asked else response("202 Accepted")]
        if isinstance(message, dict) and message.get("method") == "initialize":
            agreed: Object = {
                "protocolVersion": revision,
                "capabilities": {"prompts": {}},
                "serverInfo": {"name": "raw", "version": "1"},
            }
            body: Object = {"jsonrpc": "2.0", "id": message["id"], "result": agreed}
            named = "Mcp-Session-Id: of-batches"
            return [response("200 OK", json.dumps(body).encode(), named)]
        return None

    upstream.script = scripted
    opening = json.dumps(OPENING).replace(SESSIONS, revision).encode()
    answer = hop.ask(post(opening))
    assert answer.status == 200, answer
    header = f"Mcp-Session-Id: {answer.header('mcp-session-id')}"
    assert hop.ask(post(INITIALIZED, header)).status == 202
    upstream.seen.clear()
    return header


def test_a_batch_is_passed_on_and_each_request_in_it_answered(hop: Hop, upstream: Upstream) -> None:
    header = session(hop, upstream, BATCHES)
    sent = many(ask("prompts/list", 1), NEWS, ask("prompts/list", 2))
    answer = hop.ask(post(sent, header))
    assert answer.status == 200
    assert sorted(one["id"] for one in json.loads(answer.body)) == [1, 2]
    (seen,) = upstream.seen
    assert seen.body == sent


def test_a_batch_of_notifications_is_accepted(hop: Hop, upstream: Upstream) -> None:
    header = session(hop, upstream, BATCHES)
    answer = hop.ask(post(many(NEWS, NEWS), header))
    assert (answer.status, answer.body) == (202, b"")
    assert len(upstream.seen) == 1


ONE, TWO = ask("prompts/list", 1), ask("prompts/list", 2)


@pytest.mark.parametrize(
    ("revision", "messages"),
    [
        (SESSIONS, (ONE, TWO)),
        ("2025-11-25", (ONE, TWO)),
        (BATCHES, ()),
        (BATCHES, (OPENING, TWO)),
        (BATCHES, (ONE, ONE)),
    ],
    ids=[SESSIONS, "2025-11-25", "none", "with-an-opening", "one-id-twice"],
)
def test_a_batch_that_may_not_be_is_refused(
    hop: Hop, upstream: Upstream, revision: str, messages: Sequence[Object]
) -> None:
    header = session(hop, upstream, revision)
    answer = hop.ask(post(many(*messages), header))
    assert codes(json.loads(answer.body)) == {INVALID_REQUEST}
    assert upstream.seen == []


def codes(answered: Any) -> set[object]:
    """The codes of an error, or of a list of them."""
    each = answered if isinstance(answered, list) else [answered]
    return {one["error"]["code"] for one in each}
