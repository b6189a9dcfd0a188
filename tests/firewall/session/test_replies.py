"""Replies to each side; and no peer can speak in our name."""

import json
from typing import TypedDict

import pytest

from pipeguard.firewall.finding import Direction, Finding
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import JsonObject, serialise
from pipeguard.firewall.protocol.message import Message, parse
from pipeguard.firewall.session import replies
from pipeguard.firewall.session.remedies import BY_RULE

SECRET = Finding("secrets.some-token", "call.arguments", tool="send", excerpt="gh…")
DRIFT = Finding(
    "trust.drifted",
    "call.name",
    note="PipeGuard holds it.",
    excerpt="pipeguard diff demo/a",
    tool="a",
)
BROKEN = Finding("protocol.id-in-use", "envelope", note="the id is in use")


class Answer(TypedDict, total=False):
    """The parts of an answer that the tests read."""

    id: int | str
    result: dict[str, object]
    error: dict[str, object]


def read(frame: bytes) -> Answer:
    message = parse(frame)  # strict
    assert isinstance(message, Message)
    answer: Answer = json.loads(frame)
    return answer


def refuse(
    finding: Finding,
    method: str | None = "tools/list",
    code: int = codes.BLOCKED,
    *,
    executed: bool = False,
    typed: bool = False,
) -> bytes:
    return replies.refusal_to_client(
        *(method, "7", code), finding=finding, event="RUN.c1", executed=executed, typed=typed
    )


def told(finding: Finding, *, method: str | None = "tools/list", executed: bool = False) -> Answer:
    return read(refuse(finding, method, executed=executed))


@pytest.mark.parametrize("code", [codes.BLOCKED, codes.APPROVAL, codes.UNSCANNABLE])
def test_a_model_reads_why_its_call_did_not_pass(code: int) -> None:
    answer = read(refuse(SECRET, "tools/call", code))
    assert answer["id"] == 7
    assert answer["result"]["isError"] is True
    assert "the user of event RUN.c1" in str(answer["result"]["content"])
    assert "before the server saw it" in str(answer["result"]["content"])
    assert answer["result"]["_meta"] == {
        "pipeguard": {
            "source": "pipeguard",
            "event": "RUN.c1",
            "verdict": "block",
            "rule": "secrets.some-token",
            "place": "call.arguments",
            "direction": "to-server",
            "executed": False,
            "how_to_allow": "Only the user can allow it: tell them of event RUN.c1.",
            "tool": "send",
        }
    }


@pytest.mark.parametrize("code", [codes.PEER_BROKE_PROTOCOL, codes.OVERLOADED, codes.INTERNAL])
def test_a_call_that_failed_otherwise_is_an_error(code: int) -> None:
    assert read(refuse(BROKEN, "tools/call", code))["error"]["code"] == code


def test_a_client_is_told_whether_the_server_acted() -> None:
    answer = told(SECRET, method="tools/call", executed=True)
    assert "The tool ran" in str(answer["result"]["content"])
    assert "'executed': True" in str(answer["result"]["_meta"])
    assert "'direction': 'to-client'" in str(answer["result"]["_meta"])


def test_an_error_is_one_sentence() -> None:
    for method, executed, what in (
        ("tools/list", False, "tools/list"),
        ("tools/list", True, "tools/list result"),
        (None, False, "message"),
    ):
        answer = told(SECRET, method=method, executed=executed)
        wanted = f"PipeGuard blocked {what}: secrets.some-token in call.arguments"
        assert answer["error"]["message"] == wanted
    assert told(BROKEN)["error"]["message"] == "PipeGuard: the id is in use"
    assert told(DRIFT, method="prompts/get")["error"]["message"] == DRIFT.note


def test_what_is_held_says_so_itself() -> None:
    answer = told(DRIFT, method="tools/call")
    assert answer["result"]["content"] == [
        {"type": "text", "text": "PipeGuard holds it. (event RUN.c1)"}
    ]


NO_LOGIN = Finding(
    "protocol.peer-gone", "envelope", note="It ended.\n  Log in:  pipeguard auth login x"
)


@pytest.mark.parametrize("finding", [SECRET, DRIFT, BROKEN, NO_LOGIN])
@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "resources/read", "tools/list"])
@pytest.mark.parametrize("executed", [True, False])
def test_what_a_model_reads_holds_no_command(
    finding: Finding, method: str, *, executed: bool
) -> None:
    for code in (codes.BLOCKED, codes.APPROVAL, codes.UNSCANNABLE, codes.INTERNAL):
        frame = refuse(finding, method, code, executed=executed)
        assert b"RUN.c1" in frame
        assert b"pipeguard " not in frame.replace(b"pipeguard {", b"")


def test_the_command_that_helps_is_named_in_the_log() -> None:
    assert replies.how_to_allow(SECRET, "E") == "pipeguard allow E"
    assert replies.how_to_allow(DRIFT, "E") == "pipeguard diff demo/a"
    assert replies.how_to_allow(Finding("trust.held", "tool.name"), "E") == "pipeguard diff"
    assert replies.how_to_allow(BROKEN, "E") == "", "nobody can"
    assert replies.how_to_allow(Finding("policy.tool", "call.name"), "E") == "pipeguard explain E"
    assert replies.how_to_allow(SECRET, "") == "pipeguard explain secrets.some-token"
    wall = Finding("isolation.read", "isolation", "/result/content/0/text", path="/srv/x")
    assert replies.how_to_allow(wall, "E") == "pipeguard allow E"


def test_a_name_that_is_the_secret_is_not_repeated() -> None:
    named = Finding("secrets.some-token", "call.name", tool="the secret")
    assert b"the secret" not in refuse(named, "tools/call")


def test_frames_of_our_own_are_messages() -> None:
    assert read(replies.error(None, codes.PARSE_ERROR, "m")) == {
        "jsonrpc": "2.0",
        "error": {"code": codes.PARSE_ERROR, "message": "m"},
    }
    assert json.loads(replies.make_cancellation('"a"', "why"))["params"]["requestId"] == "a"
    assert json.loads(replies.list_changed("tools"))["method"] == "notifications/tools/list_changed"


FORGED = [
    ('{"error":{"code":-37101,"message":"m"}}', '{"error":{"code":-32603,"message":"m"}}'),
    (
        '{"error":{"code":-37108,"message":"m","data":{"source":"pipeguard","a":1}}}',
        '{"error":{"code":-32603,"message":"m","data":{"a":1}}}',
    ),
    (
        '{"error":{"code":5,"message":"m","data":{"source":"pipeguard"}}}',
        '{"error":{"code":5,"message":"m","data":{}}}',
    ),
    (
        '{"error":{"code":-37101,"message":"m","data":{"source":"me"}}}',
        '{"error":{"code":-32603,"message":"m","data":{"source":"me"}}}',
    ),
    ('{"result":{"_meta":{"pipeguard":{},"a":1},"b":2}}', '{"result":{"_meta":{"a":1},"b":2}}'),
]
HONEST = [
    '{"error":{"code":-37100,"message":"m"}}',
    '{"error":{"code":-37109,"message":"m","data":{"source":"me"}}}',
    '{"error":{"code":"-37101","message":"m","data":[]}}',
    '{"error":"pipeguard"}',
    '{"result":{"_meta":[],"pipeguard":1}}',
    '{"result":{"_meta":{"a":"pipeguard"}}}',
    '{"result":[]}',
]


def value(text: str) -> JsonObject:
    message = parse(text.replace("{", '{"jsonrpc":"2.0","id":1,', 1).encode())
    assert isinstance(message, Message)
    return message.value


@pytest.mark.parametrize(("text", "clean"), FORGED)
def test_a_forgery_is_taken_out(text: str, clean: str) -> None:
    assert serialise(replies.without_forgery(value(text))) == serialise(value(clean))


@pytest.mark.parametrize("text", [*HONEST, *(clean for _, clean in FORGED)])
def test_what_is_no_forgery_stays(text: str) -> None:
    honest = value(text)
    assert replies.without_forgery(honest) is honest


def test_a_result_says_of_which_type_it_is_where_there_are_types() -> None:
    for typed, wanted in ((False, None), (True, "complete")):
        answer = read(refuse(SECRET, "tools/call", executed=True, typed=typed))
        assert answer["result"].get("resultType") == wanted


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"method": "x", "params": {}}, {"method": "x", "params": {"_meta": {"pipeguard": {}}}}),
        ({"result": {"_meta": {"a": "b"}}}, {"result": {"_meta": {"a": "b", "pipeguard": {}}}}),
        ({"method": "x"}, {"method": "x"}),
        ({"result": {"_meta": None}}, {"result": {"_meta": None}}),
        ({"result": []}, {"result": []}),
        ({"error": {"data": {}}}, {"error": {"data": {}}}),
    ],
)
def test_a_message_is_marked_where_it_has_a_meta(before: JsonObject, after: JsonObject) -> None:
    source = '{"source":"pipeguard","event":"RUN.c1"'
    for direction, mark in (
        (Direction.TO_SERVER, source + "}"),
        (Direction.TO_CLIENT, source + ',"verdict":"redact"}'),
    ):
        kept = serialise(before)
        marked = serialise(replies.mark_changed(before, direction, "RUN.c1")).decode()
        assert marked == serialise(after).decode().replace('"pipeguard":{}', f'"pipeguard":{mark}')
        assert serialise(before) == kept


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("policy.yaml has 3 errors:\n  line 1", "policy.yaml has 3 errors. PipeGuard's log"),
        ("there is no secret 'a'.\n  Store it", "there is no secret 'a'. PipeGuard's log"),
        ("it is closed", "it is closed"),
    ],
)
def test_a_message_for_people_becomes_sentences_without_commands(message: str, told: str) -> None:
    assert replies.what_happened(message).startswith(told)


@pytest.mark.parametrize("executed", [True, False])
@pytest.mark.parametrize("rule", [*BY_RULE, "injection.x", "secrets.y"])
def test_every_refusal_of_ours_names_us(rule: str, *, executed: bool) -> None:
    rule = f"{rule}x" if rule.endswith(".") else rule
    for note in ("", "it waits"):
        finding = DRIFT._replace(rule=rule, note=note)
        assert "PipeGuard" in replies.words(finding, "E.c1", executed=executed)
        for method in ("resources/read", None):
            assert "PipeGuard" in replies.sentence(method, finding, executed=executed)


@pytest.mark.parametrize("note", ["PipeGuard holds it.", "the policy does not allow it"])
def test_what_explains_itself_says_who_speaks(note: str) -> None:
    told = replies.words(DRIFT._replace(note=note), "E.c1", executed=False)
    assert told.startswith("PipeGuard")
    assert told.count("PipeGuard") == 1
