"""A Session's own checks if others judge the texts: only the protocol, not the content."""

from collections.abc import Iterator
from random import Random

import pytest

from pipeguard import Action, Direction, Frame, Policy, Session, Verdict, make_guard
from pipeguard.errors import Refusal
from pipeguard.firewall.protocol.framing import KnownResult
from pipeguard.firewall.protocol.strict_json import ParsedFrame
from tests.firewall.session.talk import KEY, ORDER, TO_CLIENT, TO_SERVER, answer, call, frame
from tests.fuzz.rulebook import engines


def make_session() -> Session:
    guard = make_guard("gateway", engines(), Policy(), {}, b"k" * 32)
    guard.inspects = False
    return Session(guard.part(b"c" * 32), "RUN", "2025-06-18")


@pytest.fixture
def session() -> Session:
    return make_session()


def test_what_messages_say_is_not_judged_and_passes_as_it_came(session: Session) -> None:
    asked, told = call(1, f"key {KEY}"), answer(1, ORDER)
    assert session.take(Frame(TO_SERVER, asked, 0.0)).forward is asked
    verdict = session.take(Frame(TO_CLIENT, told, 0.0))
    assert (verdict.forward, verdict.action, verdict.pins) == (told, Action.ALLOW, ())
    assert session.state.waiting_ids() == []


def test_definitions_are_neither_pinned_nor_held(session: Session) -> None:
    tools = {"tools": [{"name": "t", "description": ORDER, "inputSchema": {"type": "object"}}]}
    session.take(Frame(TO_SERVER, frame(id=1, method="tools/list"), 0.0))
    told = frame(id=1, result=tools)
    assert session.take(Frame(TO_CLIENT, told, 0.0)).forward is told
    assert session.guard.pins.all() == {}


def test_an_answer_to_nothing_a_wrong_frame_and_an_open_id_are_refused(session: Session) -> None:
    assert session.take(Frame(TO_CLIENT, answer(7, "x"), 0.0)).forward is None
    broken = session.take(Frame(TO_SERVER, b'{"jsonrpc": "2.0", "id": 1}', 0.0))
    assert (broken.forward, broken.action) == (None, Action.BLOCK)
    session.take(Frame(TO_SERVER, call(1, "a"), 0.0))
    again = session.take(Frame(TO_SERVER, call(1, "b"), 0.0))
    assert again.forward is None
    assert session.state.waiting_ids() == ["1"]


def odd_members(dice: Random, number: int) -> dict[str, object]:
    """Make members of params or of a result, most of them irrelevant."""
    odd: list[tuple[str, object]] = [
        *(("_meta", meta) for meta in ({}, None, 1, {"progressToken": number % 9})),
        *(("_meta", {"progressToken": 1.5}), ("task", {}), ("task", {"taskId": "t"})),
        *(("resultType", "task"), ("resultType", "complete"), ("isError", True)),
        *(("__proto__", 1), ("constructor", []), ("requestState", "s"), ("inputResponses", {})),
        ("inputRequests", {"a": {"method": "elicitation/create"}}),
    ]
    return dict(dice.sample(odd, 2)) if dice.random() < 0.6 else {}


def turns(seed: int) -> Iterator[tuple[Direction, bytes]]:
    """Frames of calls and answers; some are odd as clients and servers are."""
    dice = Random(seed)  # noqa: S311  no secret
    methods = ["tools/list", "ping", "Tools/Call", "initialize"]
    for number in range(800):
        token = dice.choice([*((number,) * 6), number - 1, str(number), float(number)])
        method = dice.choice(methods) if dice.random() < 0.2 else "tools/call"
        name = {"name": dice.choice([1, None])} if dice.random() < 0.1 else {"name": "t"}
        asked: object = {**name, "arguments": {}, **odd_members(dice, number)}
        asked = dice.choice([[], None]) if dice.random() < 0.1 else asked
        beside = {dice.choice(["x", "prototype"]): 1} if dice.random() < 0.1 else {}
        yield TO_SERVER, frame(id=token, method=method, params=asked, **beside)
        block = {"type": "text", "text": "a"} | ({"_meta": 1} if dice.random() < 0.1 else {})
        result: object = {"content": [block], **odd_members(dice, number)}
        result = dice.choice([[], "a"]) if dice.random() < 0.1 else result
        said = {"error": {"code": 1}} if dice.random() < 0.1 else {"result": result}
        token = dice.choice([token, token, token, number, str(number), float(number)])
        yield TO_CLIENT, frame(id=token, **said, **beside)


def with_value(said: bytes) -> bytes:
    """Make a frame as the gateway has it: with its value, if it is one."""
    try:
        return ParsedFrame.of(said)
    except Refusal:
        return said


def play(seed: int) -> tuple[list[Verdict], list[str]]:
    """Return the verdicts on a conversation, and the requests that are pending at its end."""
    session, verdicts = make_session(), list[Verdict]()
    for direction, said in turns(seed):
        now = len(verdicts) / 10
        verdicts.append(session.take(Frame(direction, with_value(said), now)))
    return verdicts, session.state.waiting_ids()


@pytest.mark.parametrize("seed", range(3))
def test_what_passes_at_once_is_what_the_judge_of_the_protocol_passes(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = play(seed)
    monkeypatch.setattr("pipeguard.firewall.session.session.look", lambda _: None)
    assert at_once == play(seed)
    assert {verdict.action for verdict in at_once[0]} >= {Action.ALLOW, Action.WARN, Action.BLOCK}


def test_a_known_result_is_told_by_its_id_alone(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = KnownResult.of(answer(1, ORDER), "1")
    assert session.take(Frame(TO_CLIENT, told, 0.0)).forward is None
    session.take(Frame(TO_SERVER, call(1, "a"), 0.0))
    monkeypatch.setattr("pipeguard.firewall.session.look.parse", None)
    assert session.take(Frame(TO_CLIENT, told, 0.0)).forward is told
    assert session.state.waiting_ids() == []


def test_a_call_and_its_result_are_not_judged_in_full(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeguard.firewall.session.session.parse_frame", None)
    for said, direction in ((call(1, KEY), TO_SERVER), (answer(1, ORDER), TO_CLIENT)):
        parsed = ParsedFrame.of(said)
        assert session.take(Frame(direction, parsed, 0.0)).forward is parsed


def test_what_passes_at_once_is_one_line(session: Session) -> None:
    for said, direction in ((call(1, "a"), TO_SERVER), (answer(1, "b"), TO_CLIENT)):
        parsed = ParsedFrame.of(said.replace(b", ", b",\n"))
        assert session.take(Frame(direction, parsed, 0.0)).forward == said


def test_what_a_server_says_of_itself_is_remembered(session: Session) -> None:
    params = {"protocolVersion": "2025-11-25", "capabilities": {}}
    asked = frame(id=1, method="initialize", params=params)
    told = frame(id=1, result=params)
    for said, direction in ((asked, TO_SERVER), (told, TO_CLIENT)):
        assert session.take(Frame(direction, ParsedFrame.of(said), 0.0)).forward == said
    assert session.state.peers.agreed
    assert session.state.peers.revision == "2025-11-25"


def test_a_call_that_goes_on_as_a_task_reports_its_progress(session: Session) -> None:
    params = {"name": "a", "task": {}, "_meta": {"progressToken": 5}}
    asked = frame(id=1, method="tools/call", params=params)
    told = frame(id=1, result={"task": {"taskId": "t", "status": "working"}})
    progress = {"progressToken": 5, "progress": 1}
    report = frame(method="notifications/progress", params=progress)
    for said, direction in ((asked, TO_SERVER), (told, TO_CLIENT), (report, TO_CLIENT)):
        assert session.take(Frame(direction, ParsedFrame.of(said), 0.0)).forward == said
