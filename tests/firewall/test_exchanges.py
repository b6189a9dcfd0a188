"""One conversation in many exchanges at once, as over HTTP: who is answered, and how often.

`Session.fork`, `waiting`, `resume`, `leave`, and `Lost` in place of an answer. Source: MCP
2025-06-18, basic/transports; clients whose requests all have the id 1 are
anthropics/claude-ai-mcp#539.
"""

import json
from collections import Counter
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard import Action, Frame, Guard, Session, make_guard
from pipeguard.firewall.finding import TO_CLIENT, TO_SERVER
from pipeguard.firewall.policy import Limits, Policy
from pipeguard.firewall.protocol.framing import Lost
from pipeguard.firewall.session.own_frames import ListsChanged, ServerGone
from tests.fuzz.budget import tried
from tests.fuzz.rulebook import engines

IDS = ["1", '"1"', "2"]
GONE, SILENT = -37104, -37105


@cache
def guard(timeout_seconds: float | None = None) -> Guard:
    """Conversations may share one: nothing here is pinned."""
    return make_guard("demo", engines(), Policy(limits=Limits(timeout_seconds=timeout_seconds)), {})


def session(timeout_seconds: float | None = None) -> Session:
    return Session(guard(timeout_seconds), "RUN", "2025-03-26")


def ask(id_: str, method: str = "x/y", params: str = "{}") -> bytes:
    return f'{{"jsonrpc":"2.0","id":{id_},"method":"{method}","params":{params}}}'.encode()


def answer(id_: str, result: str = "{}") -> bytes:
    return f'{{"jsonrpc":"2.0","id":{id_},"result":{result}}}'.encode()


def cancel(id_: str) -> bytes:
    params = f'{{"requestId":{id_}}}'
    return f'{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{params}}}'.encode()


def code_of(frame: bytes | None) -> int | None:
    assert frame is not None
    code: int | None = json.loads(frame).get("error", {}).get("code")
    return code


# --- the property -----------------------------------------------------------------------------

steps = st.tuples(
    st.sampled_from(
        [
            *("ask", "ask", "ask", "answer", "answer by the whole", "lose", "lose by the whole"),
            *("cancel", "leave", "break", "broken answer", "batch"),
        ]
    ),
    st.integers(0, 3),
    st.sampled_from(IDS),
)


class World:
    """Four exchanges of one conversation, and the messages to each client."""

    def __init__(self) -> None:
        self.whole = session()
        self.exchanges = [self.whole.fork() for _ in range(4)]
        self.asked: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.given_up: Counter[str] = Counter()

    def tell(self, *frames: bytes | None) -> None:
        for frame in frames:
            if frame is not None:
                value = json.loads(frame)
                for member in value if isinstance(value, list) else [value]:
                    if "method" not in member:
                        self.told[json.dumps(member["id"])] += 1

    def step(self, what: str, number: int, id_: str) -> None:
        exchange, now = self.exchanges[number], 1.0
        whole = self.whole if what.endswith("whole") else exchange
        match what.split()[0]:
            case "ask":
                self.asked[id_] += 1
                self.tell(exchange.take(Frame(TO_SERVER, ask(id_), now)).reply)
            case "batch":
                self.asked.update(["7", id_])
                frame = b"[" + ask("7") + b"," + ask(id_) + b"]"
                self.tell(exchange.take(Frame(TO_SERVER, frame, now)).reply)
            case "answer":
                self.tell(whole.take(Frame(TO_CLIENT, answer(id_), now)).forward)
            case "broken":
                frame = answer(id_, '{"a":1,"a":2}')
                self.tell(exchange.take(Frame(TO_CLIENT, frame, now)).forward)
            case "lose":
                self.tell(whole.take(Frame(TO_CLIENT, Lost.of(id_, "it is lost"), now)).forward)
            case "cancel":
                before = Counter(self.whole.state.waiting_ids())
                exchange.take(Frame(TO_SERVER, cancel(id_), now))
                self.given_up += before - Counter(self.whole.state.waiting_ids())
            case "break":
                for token in exchange.state.waiting_ids():
                    lost = Frame(TO_CLIENT, Lost.of(token, "broken"), now)
                    self.tell(exchange.take(lost).forward)
                assert exchange.state.waiting_ids() == []
            case "leave":
                exchange.leave()
                self.exchanges[number] = self.whole.fork()


@tried(150)
@given(st.lists(steps, max_size=20))
def test_every_request_is_answered_exactly_once_whatever_happens(
    schedule: list[tuple[str, int, str]],
) -> None:
    world = World()
    for step in schedule:
        world.step(*step)
        assert all(world.told[id_] + world.given_up[id_] <= world.asked[id_] for id_ in world.asked)
        assert world.told.keys() <= world.asked.keys()
        open_ = Counter(world.whole.state.waiting_ids())
        assert world.told + world.given_up + open_ == world.asked
    world.tell(*(one.frame for one in world.whole.take(ServerGone(9.0)).own))
    assert world.told + world.given_up == world.asked
    assert world.whole.state.waiting_ids() == []
    for exchange in world.exchanges:
        exchange.leave()
    assert not world.whole.state.pending[TO_SERVER]._exchanges, "all of it is forgotten"


# --- by example -------------------------------------------------------------------------------


def test_what_is_agreed_in_one_exchange_is_agreed_in_all() -> None:
    whole = session()
    first, second = whole.fork(), whole.fork()
    params = '{"protocolVersion":"2025-06-18","capabilities":{"roots":{}},"clientInfo":{}}'
    first.take(Frame(TO_SERVER, ask("1", "initialize", params), 1.0))
    capabilities = '{"tools":{"listChanged":true}}'
    agreed = f'{{"protocolVersion":"2025-06-18","capabilities":{capabilities}}}'
    first.take(Frame(TO_CLIENT, answer("1", agreed), 1.0))
    batch = b"[" + ask("1") + b"," + ask("2") + b"]"
    assert second.take(Frame(TO_SERVER, batch, 1.0)).forward is None, "2025-06-18 has none"
    changed = ListsChanged(frozenset({"tool"}), 1.0)
    told, again = whole.take(changed).own, second.take(changed).own
    assert [one.frame for one in told] == [one.frame for one in again] != []
    assert second.take(Frame(TO_CLIENT, ask("9", "roots/list"), 1.0)).forward is not None


def test_a_server_asks_on_one_stream_and_is_answered_by_another_post() -> None:
    whole = session()
    first, second = whole.fork(), whole.fork()
    first.take(Frame(TO_SERVER, ask("1", "initialize", '{"capabilities":{"roots":{}}}'), 1.0))
    first.take(Frame(TO_CLIENT, answer("1", '{"protocolVersion":"2025-06-18"}'), 1.0))
    assert first.take(Frame(TO_CLIENT, ask("1", "roots/list"), 1.0)).forward is not None
    reply = answer("1", '{"roots":[]}')
    assert second.take(Frame(TO_SERVER, reply, 1.0)).forward is reply
    assert second.take(Frame(TO_SERVER, reply, 1.0)).forward is None


def test_events_of_all_exchanges_have_different_names() -> None:
    whole = session()
    exchanges = [whole, whole.fork(), whole.fork()]
    names = [one.take(Frame(TO_SERVER, ask(str(n)), 1.0)).event for n, one in enumerate(exchanges)]
    assert len(set(names)) == 3


# --- lost -------------------------------------------------------------------------------------


@pytest.mark.parametrize("id_", ["9007199254740993", '"method"', '"a\\"b"'])
def test_a_lost_answer_is_told_under_its_id_as_it_stood(id_: str) -> None:
    exchange = session().fork()
    exchange.take(Frame(TO_SERVER, ask(id_), 1.0))
    verdict = exchange.take(Frame(TO_CLIENT, Lost.of(id_, "the server is far away"), 1.0))
    assert verdict.forward is not None
    assert f'"id":{id_},'.encode() in verdict.forward
    assert b"the server demo is far away" in verdict.forward
    assert code_of(verdict.forward) == GONE
    assert verdict.action is Action.WARN
    assert exchange.state.waiting_ids() == []


def test_no_frame_of_a_peer_can_stand_for_a_lost_answer() -> None:
    exchange = session().fork()
    exchange.take(Frame(TO_SERVER, ask("1"), 1.0))
    verdict = exchange.take(Frame(TO_CLIENT, bytes(Lost.of("1", "why")), 1.0))
    assert verdict.forward is None
    assert exchange.state.waiting_ids() == ["1"]
