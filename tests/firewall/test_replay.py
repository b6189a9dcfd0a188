"""A list of events, judged again in another process, gives the same verdicts."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from random import Random

from pipeguard import Action, Direction, Frame, Session, Verdict, make_guard
from pipeguard.detect.flows.notes import note_request, note_result
from pipeguard.detect.flows.tool_labels import make_tool
from pipeguard.detect.flows.tool_results import ToolResult
from pipeguard.firewall.policy import Layer, Limits, Policy
from pipeguard.firewall.session import client_headers, decisions, lifecycle, own_frames
from pipeguard.firewall.session import events as shared
from pipeguard.firewall.session.guard import RepeatedCall
from pipeguard.firewall.session.memory import Note
from pipeguard.firewall.session.session import Event
from tests.firewall.session import talk
from tests.fuzz.rulebook import engines

SESSIONS, EVENTS = 500, 14
ASKING = Policy(layers=(Layer(tools_ask=("send",)),), limits=Limits(timeout_seconds=50.0))
POLICIES = (ASKING, ASKING._replace(trust=talk.REVIEW.trust), Policy())
OPENED = {"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {"url": {}}}}
OURS = talk.frame(id="ours", method="elicitation/create", params={"mode": "url", "message": "?"})
AGAIN = talk.message(id=8, method="tools/call", params={"name": "send", "arguments": {}})
OPENING: list[Event] = [
    Frame(Direction.TO_SERVER, talk.frame(id=9, method="initialize", params=OPENED), 0.0),
    Frame(Direction.TO_CLIENT, talk.frame(id=9, result=OPENED), 0.0),
    shared.OwnQuestion(OURS, 0.0),
]


NOTES = [
    note_result(
        ToolResult(make_tool("read_mail", None), talk.answer(1, talk.KEY), 0.0, frozenset())
    ),
    note_request(make_tool("send", None), talk.call(1, "hello", "send")),
    Note("other", ["broken"], b""),
]


def begin(policy: Policy) -> Session:
    pins = {("tool", name): talk.pinned(talk.tool(name), name=name) for name in ("echo", "send")}
    guard = make_guard("demo", engines(), policy, pins, b"k" * 32)
    guard.contents_key = b"c" * 32
    return Session(guard, "RUN", waiting_room=lifecycle.WaitingRoom())


def make_frame(dice: Random) -> tuple[Direction, bytes]:
    """A frame of either side, which may be odd."""
    token, text = dice.randint(1, 4), dice.choice(["hello", f"key {talk.KEY}", talk.ORDER])
    tools = [talk.tool("echo"), talk.tool("send", dice.choice(["Sends.", talk.ORDER]))]
    from_client = [
        *[talk.call(token, text, dice.choice(["echo", "send", "other"]))] * 4,
        talk.frame(id=token, method="tools/list"),
        talk.frame(id=token, method="initialize", params=OPENED),
        talk.frame(method="notifications/cancelled", params={"requestId": token}),
        talk.frame(id="ours", result={"action": "accept"}),
    ]
    from_server = [
        *[talk.answer(token, text)] * 4,
        talk.frame(id=token, result={"tools": tools}),
        talk.frame(id=token, result=OPENED),
    ]
    direction = dice.choice([*Direction])
    return direction, dice.choice(from_client if direction is Direction.TO_SERVER else from_server)


def make_event(dice: Random, now: float, stopped: list[Verdict]) -> Event:
    pins = {
        ("tool", "echo"): talk.pinned(
            talk.tool("echo", dice.choice(["Adds.", "More."])), name="echo"
        )
    }
    makers: list[Callable[[], Event]] = [
        *[lambda: Frame(*make_frame(dice), now, dice.random() < 0.2)] * 12,
        lambda: shared.HiddenTool(talk.call(7, "hello", "hidden"), "7", now),
        lambda: own_frames.ServerGone(now),
        lambda: own_frames.Tick(now),
        lambda: shared.PinsChanged(pins, now),
        lambda: shared.PolicyChanged(dice.choice(POLICIES), now),
        lambda: own_frames.ListsChanged(frozenset({"tool"}), now),
        lambda: shared.OwnQuestion(OURS, now),
        lambda: own_frames.QuestionClosed('"ours"', now),
        lambda: shared.Learned(dice.choice(NOTES), now),
        lambda: client_headers.HeadersSent([("X-A", dice.choice(["a", talk.KEY]))], now, "RUN.h1"),
    ]
    about: list[Callable[[], Event]] = [
        lambda: decisions.Granted(dice.choice(stopped), now, "RUN.c1"),
        lambda: decisions.Repeated(dice.choice(stopped), now, RepeatedCall(AGAIN, stopped[0])),
        lambda: decisions.Waited(dice.choice(stopped), now, dice.random() < 0.3),
        lambda: decisions.WaitEnded(dice.choice(stopped), now, "its client left"),
        lambda: decisions.AskedInResult(dice.choice(stopped), now, {}),
    ]
    return dice.choice(makers + (about * 2 if stopped else []))()


def play(seed: int) -> tuple[Policy, list[Event], list[Verdict]]:
    dice, now = Random(seed), 0.0  # noqa: S311  no secret
    policy, events = dice.choice(POLICIES), [*OPENING]
    session = begin(policy)
    verdicts = [session.take(event) for event in events]
    for _ in range(EVENTS):
        now += dice.choice([0.0, 0.5, 30.0])
        latest = {verdict.event: verdict for verdict in verdicts}
        stopped = [verdict for verdict in latest.values() if verdict.mark]
        events.append(make_event(dice, now, stopped))
        verdicts.append(session.take(events[-1]))
    return policy, events, verdicts


def judge_again(policy: Policy, events: list[Event]) -> list[Verdict]:
    session = begin(policy)
    return [session.take(event) for event in events]


def test_a_list_of_events_gives_the_same_verdicts_in_another_process() -> None:
    played = [play(seed) for seed in range(SESSIONS)]
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        policies, events, verdicts = zip(*played, strict=True)
        again = [*other.map(judge_again, policies, events, chunksize=50)]
    assert again == [*verdicts]
    seen = [verdict for each in verdicts for verdict in each]
    assert {verdict.action for verdict in seen} == {*Action} - {Action.CUT}
    assert len({type(event) for each in events for event in each}) == 16, "all of them"
    used = zip(*((v.grant, v.own, v.question, v.kinds, v.pins) for v in seen), strict=True)
    assert all(map(any, used))
