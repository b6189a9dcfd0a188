"""Cases played through a real Session, and what became of each, read off its Verdict.

A Session is made as `pipeguard wrap` makes it: all rules, the policy of somebody who has no
policy file, and no pins. Each case has a Session of its own, with a whole handshake.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from time import perf_counter

from benchmarks.detection.cases import Expect, Json, Object, Played, Way
from pipeguard.config.effective_policy import combine
from pipeguard.core.finding import Action, Direction, Verdict
from pipeguard.core.session.guard import Engines, Guard
from pipeguard.core.session.session import Session
from pipeguard.core.vault_placeholder import PLACEHOLDER
from pipeguard.rulebook.cache import load_engines

REVISION = "2025-11-25"
KEY = b"benchmark"  # of placeholders; of no consequence here
TOOL = "lookup"  # a tool of no meaning, for results
SERVER = {"name": "detection", "version": "1"}
CLIENT = {"name": "detection", "version": "1"}
SECRETS = ("secret", "number")  # classes in which it is enough to take something out
TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT
ASKED: dict[str, Object] = {
    "tools/call": {"name": TOOL, "arguments": {}},
    "resources/read": {"uri": "notes:///today"},
    "prompts/get": {"name": "daily"},
}


class Outcome(IntEnum):
    """What became of a case."""

    QUIET = 0
    WARNED = 1
    REDACTED = 2
    BLOCKED = 3


@dataclass(frozen=True, slots=True)
class Play:
    """What became of one case in one view.

    Attributes:
        id: the case's.
        split: what the case may be used for: `tuned` or `held`.
        kind: its class or kind.
        language: of its text.
        view: the disguise it wore.
        way: in what it travelled.
        expect: what should have become of it.
        outcome: what did.
        caught: True where an attack was answered as it should be; for what is innocent, never.
        rules: which saw something, those that decided first.
        frame_bytes: of the frame that was judged.
        seconds: that judging it took.
    """

    id: str
    split: str
    kind: str
    language: str
    view: str
    way: str
    expect: Expect
    outcome: Outcome
    caught: bool
    rules: tuple[str, ...]
    frame_bytes: int
    seconds: float

    @property
    def innocent(self) -> bool:
        """True where nothing should be said of it."""
        return self.expect is Expect.QUIET

    @property
    def stopped(self) -> bool:
        """True where the policy's strongest answers were given: it did not go on as it was."""
        return self.outcome >= Outcome.REDACTED


@dataclass(frozen=True, slots=True)
class _Judged:
    """One verdict, and how long it took.

    Attributes:
        verdict: on a frame.
        seconds: that judging it took.
        serves: True for a result in a flow whose secrets were taken out, and are put back where
            they are used: that disturbs nobody.
        changed: True for a call that did not go on as it was meant.
    """

    verdict: Verdict
    seconds: float
    serves: bool = False
    changed: bool = False


class Conversation:
    """One Session, and both sides of it.

    Attributes:
        honest: True where the client uses what it was given: the placeholder of a secret that was
            taken out. Who is not has the secret from somewhere.
    """

    def __init__(self, rules: Engines, *, honest: bool = False) -> None:
        self.honest = honest
        self._guard = Guard("detection", rules, combine(None, None), {}, KEY)
        self._session = Session(self._guard, "BENCH")
        self._id = 0
        self._now = 0.0
        self._given: dict[str, str] = {}  # placeholders, by what they stand for

    def open(self, server: Object, tools: Sequence[Json]) -> tuple[_Judged, _Judged]:
        """Shake hands and list the tools.

        Returns:
            What was judged of the server's own words and of its tools.
        """
        said: Object = {
            "protocolVersion": REVISION,
            "capabilities": {"tools": {}, "resources": {}, "prompts": {}},
            "serverInfo": {**SERVER, **{k: v for k, v in server.items() if k != "instructions"}},
        }
        if "instructions" in server:
            said["instructions"] = server["instructions"]
        asked: Object = {
            "protocolVersion": REVISION,
            "capabilities": {},
            "clientInfo": dict(CLIENT),
        }
        self.ask("initialize", asked)
        opened = self.answer(said)
        self._send(TO_SERVER, {"method": "notifications/initialized"})
        self.ask("tools/list", {})
        return opened, self.answer({"tools": list(tools)})

    def ask(self, method: str, params: Object) -> _Judged:
        """A request of the client's."""
        self._id += 1
        return self._send(TO_SERVER, {"id": self._id, "method": method, "params": params})

    def answer(self, result: Json) -> _Judged:
        """The server's answer to the last request."""
        return self._send(TO_CLIENT, {"id": self._id, "result": result})

    def look(self, verdict: Verdict) -> None:
        """Read what goes to the model: of a secret that was taken out it has the placeholder."""
        assert self._guard.vault is not None
        for found in PLACEHOLDER.finditer((verdict.forward or b"").decode()):
            self._given[self._guard.vault.restore(found[0]).text] = found[0]

    def known(self, value: Json) -> Json:
        """A value as a model writes it that has seen nothing else than what went to it."""
        if isinstance(value, dict):
            return {key: self.known(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.known(item) for item in value]
        if isinstance(value, str):
            for secret in sorted(self._given, key=len, reverse=True):
                value = value.replace(secret, self._given[secret])
        return value

    def _send(self, direction: Direction, message: Object) -> _Judged:
        frame = json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False).encode()
        self._now += 1.0
        began = perf_counter()
        verdict = self._session.receive(direction, frame, self._now)
        return _Judged(verdict, perf_counter() - began)


def play_all(cases: Iterable[Played], rules: Engines | None = None) -> Iterator[Play]:
    """Play cases one after the other."""
    rules = load_engines() if rules is None else rules
    for one in cases:
        yield play(one, rules)


def play(played: Played, rules: Engines) -> Play:
    """Play one case, and read off what became of it."""
    case = played.case
    judged = list(_PLAYERS[case.way](Conversation(rules, honest=case.innocent), played.body))
    outcomes = [_outcome(one, case.way) for one in judged]
    outcome = outcomes[-1]
    if case.innocent and case.way is Way.FLOW:
        outcome = max(outcomes)  # an innocent flow that is stopped on its way is stopped
    if outcome is Outcome.REDACTED and _still_there(judged[-1].verdict, played.secrets):
        outcome = Outcome.WARNED
    told = judged[outcomes.index(max(outcomes))] if case.innocent else judged[-1]
    return Play(
        id=case.id,
        split=case.split.value,
        kind=case.kind,
        language=case.language,
        view=played.view,
        way=case.way.value,
        expect=case.expect,
        outcome=outcome,
        caught=_is_caught(played, outcome),
        rules=_rules(told.verdict),
        frame_bytes=sum(len(one.verdict.frame) for one in judged),
        seconds=sum(one.seconds for one in judged),
    )


def _is_caught(played: Played, outcome: Outcome) -> bool:
    case = played.case
    if case.innocent:
        return False
    if case.expect is Expect.WARN:
        return outcome >= Outcome.WARNED
    if case.kind.startswith(SECRETS) and case.way is Way.RESULT:
        return outcome >= Outcome.REDACTED  # the model gets the text without the secret
    return outcome is Outcome.BLOCKED


def _still_there(verdict: Verdict, secrets: Sequence[str]) -> bool:
    """Whether a secret stands in what goes on in place of the frame."""
    if verdict.forward is None:
        return False
    text = json.dumps(json.loads(verdict.forward), ensure_ascii=False)
    return any(json.dumps(secret, ensure_ascii=False)[1:-1] in text for secret in secrets)


def _rules(verdict: Verdict) -> tuple[str, ...]:
    """Of the findings, the strongest first, each once."""
    ordered = sorted(verdict.findings, key=lambda finding: -finding.action)
    return tuple(dict.fromkeys(finding.rule for finding in ordered))


def _outcome(judged: _Judged, way: Way) -> Outcome:
    verdict = judged.verdict
    if judged.changed:
        return Outcome.BLOCKED
    if judged.serves:
        return Outcome.QUIET
    if way is Way.DEFINITION and _left_out(verdict):
        return Outcome.BLOCKED
    return {
        Action.ALLOW: Outcome.QUIET,
        Action.WARN: Outcome.WARNED,
        Action.REDACT: Outcome.REDACTED,
        Action.BLOCK: Outcome.BLOCKED,
    }[verdict.action]


def _left_out(verdict: Verdict) -> bool:
    """Whether a tool or the server's instructions do not go on."""
    sent, passed = _result_of(verdict.frame), _result_of(verdict.forward or b"{}")
    if "tools" in sent:
        return _names(passed) != _names(sent)
    return "instructions" in sent and passed.get("instructions") != sent["instructions"]


def _result_of(frame: bytes) -> Object:
    result = json.loads(frame).get("result", {})
    return result if isinstance(result, dict) else {}


def _names(result: Object) -> list[Json]:
    tools = result.get("tools", [])
    assert isinstance(tools, list)
    return [tool.get("name") for tool in tools if isinstance(tool, dict)]


def _plain_tool(name: str) -> Json:
    return {"name": name, "inputSchema": {"type": "object"}}


def _play_result(talk: Conversation, body: Object) -> Iterator[_Judged]:
    method = body["method"]
    assert isinstance(method, str)
    talk.open({}, [_plain_tool(TOOL)])
    talk.ask(method, ASKED[method])
    yield talk.answer(body["result"])


def _play_arguments(talk: Conversation, body: Object) -> Iterator[_Judged]:
    name = body["tool"]
    assert isinstance(name, str)
    talk.open({}, [_plain_tool(name)])
    yield talk.ask("tools/call", {"name": name, "arguments": body["arguments"]})


def _play_definition(talk: Conversation, body: Object) -> Iterator[_Judged]:
    server, tools = body.get("server", {}), body.get("tools", [])
    assert isinstance(server, dict)
    assert isinstance(tools, list)
    opened, listed = talk.open(server, [_whole_tool(tool) for tool in tools])
    yield opened if "server" in body else listed


def _object(value: Json) -> Object:
    assert isinstance(value, dict)
    return value


def _whole_tool(tool: Json) -> Json:
    """With what every tool must have."""
    return {"inputSchema": {"type": "object"}, **_object(tool)}


def _play_flow(talk: Conversation, body: Object) -> Iterator[_Judged]:
    """The last that is judged is the last call; its answer is not sent."""
    steps, tools = body["steps"], body["tools"]
    assert isinstance(steps, list)
    assert isinstance(tools, list)
    told = [_object(tool)["name"] for tool in tools]
    named = dict.fromkeys(str(_object(step)["tool"]) for step in steps)
    others = [_plain_tool(name) for name in named if name not in told]
    talk.open({}, [*(_whole_tool(tool) for tool in tools), *others])
    for number, step in enumerate(map(_object, steps), 1):
        meant = step.get("arguments", {})
        arguments = talk.known(meant) if talk.honest else meant
        call = talk.ask("tools/call", {"name": step["tool"], "arguments": arguments})
        went = call.verdict.forward
        yield replace(call, changed=talk.honest and _arguments_of(went) not in (None, meant))
        if number < len(steps) and went is not None and "result" in step:
            result = step["result"]
            if isinstance(result, str):
                result = {"content": [{"type": "text", "text": result}]}
            answer = talk.answer(result)
            talk.look(answer.verdict)
            yield replace(answer, serves=talk.honest and answer.verdict.action is Action.REDACT)


def _arguments_of(frame: bytes | None) -> Json:
    """What a call took to the server; None where it did not get there."""
    return None if frame is None else _object(json.loads(frame)["params"])["arguments"]


_PLAYERS = {
    Way.RESULT: _play_result,
    Way.ARGUMENTS: _play_arguments,
    Way.DEFINITION: _play_definition,
    Way.FLOW: _play_flow,
}
