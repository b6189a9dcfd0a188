"""Plays cases through a real Session; its Verdicts show what happened to each.

The Session is made as `pipeguard wrap` makes it: all rules, the default policy, and no pins. Each
case has a Session of its own, with a whole handshake.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from time import perf_counter

from benchmarks.detection.cases import Expect, Way
from benchmarks.detection.json_tree import Json, Object, strings
from benchmarks.detection.variants import Variant
from pipeguard.detect.detector import Engines, get_detection, make_guard
from pipeguard.firewall.finding import Action, Direction, Verdict
from pipeguard.firewall.policy import Policy
from pipeguard.firewall.session.events import Frame
from pipeguard.firewall.session.placeholders import PLACEHOLDER
from pipeguard.firewall.session.session import Session
from pipeguard.rulebook.cache import load_engines

REVISION = "2025-11-25"
KEY = b"benchmark"  # of placeholders; any will do
TOOL = "lookup"  # whose results are cases
SERVER = {"name": "detection", "version": "1"}
CLIENT = {"name": "detection", "version": "1"}
CUT_LINE = re.compile(r"\[PipeGuard cut [^\]]*\]")
AROUND_CHARS = 400  # before and after a cut: what a model reads together with it
ORDERS = ("injection.", "poisoning.")
SECRETS = ("secret", "number")  # classes in which redacting a result is enough
TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT
REQUEST_PARAMS: dict[str, Object] = {
    "tools/call": {"name": TOOL, "arguments": {}},
    "resources/read": {"uri": "notes:///today"},
    "prompts/get": {"name": "daily"},
}


class Outcome(IntEnum):
    """The outcomes of a case."""

    QUIET = 0
    WARNED = 1
    REDACTED = 2
    CUT = 3
    BLOCKED = 4


@dataclass(frozen=True, slots=True)
class Play:
    """The outcome of one case in one view.

    Attributes:
        id: of the case.
        split: what the case may be used for: `tuned` or `held`.
        kind: the class of attack, or the kind of innocent text.
        language: of its text.
        view: its disguise.
        way: the part of the conversation that contained it.
        expect: the action that it should get.
        outcome: what happened to it.
        caught: True for an attack that got the action it should; never for an innocent text.
        rules: that found something, the decisive ones first.
        frame_bytes: of the judged frames.
        seconds: that judging them took.
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
        """True if no rule should find anything in the case."""
        return self.expect is Expect.QUIET

    @property
    def stopped(self) -> bool:
        """True if the case was blocked, or something was cut out of it or redacted."""
        return self.outcome >= Outcome.REDACTED

    @property
    def is_cut(self) -> bool:
        """True if passages were cut out of it, and the rest went on."""
        return self.outcome is Outcome.CUT


@dataclass(frozen=True, slots=True)
class _Judged:
    """One verdict, and how long it took.

    Attributes:
        verdict: on a frame.
        seconds: that judging it took.
        is_restorable: True for a redacted result of an honest flow: later calls get the secrets
            back, so that the redaction disturbs nobody.
        is_changed: True for an honest call that the server got with other arguments.
    """

    verdict: Verdict
    seconds: float
    is_restorable: bool = False
    is_changed: bool = False


class Conversation:
    """One Session, with its client and its server.

    Attributes:
        honest: True if the client only knows what it was given: placeholders for redacted secrets.
            An attacker has the secrets from somewhere else.
    """

    def __init__(self, rules: Engines, *, honest: bool = False) -> None:
        self.honest = honest
        self._guard = make_guard("detection", rules, Policy(), {}, KEY)
        self._session = Session(self._guard, "BENCH")
        self._id = 0
        self._now = 0.0
        self._placeholders: dict[str, str] = {}  # by the secrets that they replace

    def open(self, server: Object, tools: Sequence[Json]) -> tuple[_Judged, _Judged]:
        """Shake hands and list the tools.

        Returns:
            The verdicts on the server's instructions and on its tools.
        """
        initialized: Object = {
            "protocolVersion": REVISION,
            "capabilities": {"tools": {}, "resources": {}, "prompts": {}},
            "serverInfo": {**SERVER, **{k: v for k, v in server.items() if k != "instructions"}},
        }
        if "instructions" in server:
            initialized["instructions"] = server["instructions"]
        params: Object = {
            "protocolVersion": REVISION,
            "capabilities": {},
            "clientInfo": dict(CLIENT),
        }
        self.ask("initialize", params)
        opened = self.answer(initialized)
        self._send(TO_SERVER, {"method": "notifications/initialized"})
        self.ask("tools/list", {})
        return opened, self.answer({"tools": list(tools)})

    def ask(self, method: str, params: Object) -> _Judged:
        """Send a request of the client."""
        self._id += 1
        return self._send(TO_SERVER, {"id": self._id, "method": method, "params": params})

    def answer(self, result: Json) -> _Judged:
        """Send the server's answer to the last request."""
        return self._send(TO_CLIENT, {"id": self._id, "result": result})

    def notify(self, method: str, params: Object) -> _Judged:
        """Send a notification of the server."""
        return self._send(TO_CLIENT, {"method": method, "params": params})

    def note_placeholders(self, verdict: Verdict) -> None:
        """Remember the placeholders in what goes to the model, with the secrets they replace."""
        vault = get_detection(self._guard).knowledge.vault
        for match in PLACEHOLDER.finditer((verdict.forward or b"").decode()):
            self._placeholders[vault.restore(match[0]).text] = match[0]

    def with_placeholders(self, value: Json) -> Json:
        """A value as a model writes it that knows only the placeholders of redacted secrets."""
        if isinstance(value, dict):
            return {key: self.with_placeholders(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.with_placeholders(item) for item in value]
        if isinstance(value, str):
            for secret in sorted(self._placeholders, key=len, reverse=True):
                value = value.replace(secret, self._placeholders[secret])
        return value

    def _send(self, direction: Direction, message: Object) -> _Judged:
        frame = json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False).encode()
        self._now += 1.0
        began = perf_counter()
        verdict = self._session.take(Frame(direction, frame, self._now))
        return _Judged(verdict, perf_counter() - began)


def play_all(variants: Iterable[Variant], rules: Engines | None = None) -> Iterator[Play]:
    """Play variants of cases one after the other."""
    rules = load_engines() if rules is None else rules
    for variant in variants:
        yield play(variant, rules)


def play(variant: Variant, rules: Engines) -> Play:
    """Play one case in one view."""
    case = variant.case
    judged = list(_PLAYERS[case.way](Conversation(rules, honest=case.innocent), variant.body))
    outcomes = [_outcome(each, case.way) for each in judged]
    outcome = outcomes[-1]
    if outcome is Outcome.CUT and not case.innocent and leaves_order(judged[-1].verdict, rules):
        outcome = Outcome.WARNED
    if case.innocent and case.way is Way.FLOW:
        outcome = max(outcomes)  # an innocent flow is stopped if one of its steps is
    if outcome in (Outcome.REDACTED, Outcome.CUT) and leaks(judged[-1].verdict, variant.secrets):
        outcome = Outcome.WARNED
    decisive = judged[outcomes.index(max(outcomes))] if case.innocent else judged[-1]
    return Play(
        id=case.id,
        split=case.split.value,
        kind=case.kind,
        language=case.language,
        view=variant.view,
        way=case.way.value,
        expect=case.expect,
        outcome=outcome,
        caught=_is_caught(variant, outcome),
        rules=rules_of(decisive.verdict),
        frame_bytes=sum(len(each.verdict.frame) for each in judged),
        seconds=sum(each.seconds for each in judged),
    )


def _is_caught(variant: Variant, outcome: Outcome) -> bool:
    case = variant.case
    if case.innocent:
        return False
    if case.expect is Expect.WARN:
        return outcome >= Outcome.WARNED
    if case.kind.startswith(SECRETS) and case.way is Way.RESULT:
        return outcome >= Outcome.REDACTED  # the model gets the text without the secret
    return outcome >= Outcome.CUT  # of a cut, `play` has checked what is left


def leaves_order(verdict: Verdict, rules: Engines) -> bool:
    """True if the text left around a cut, read on its own, still looks like an order to a model.

    A short text is judged more strictly than the same sentences in a long one, and what would be
    only a warning counts as well.
    """
    for _, text in strings(_result_of(verdict.forward or b"{}"), ()):
        for line in CUT_LINE.finditer(text):
            before = text[max(0, line.start() - AROUND_CHARS) : line.start()]
            around = before + text[line.end() : line.end() + AROUND_CHARS]
            talk = Conversation(rules)
            talk.open({}, [_plain_tool(TOOL)])
            talk.ask("tools/call", REQUEST_PARAMS["tools/call"])
            left = talk.answer({"content": [{"type": "text", "text": around}]}).verdict
            if any(f.action >= Action.WARN and f.rule.startswith(ORDERS) for f in left.findings):
                return True
    return False


def leaks(verdict: Verdict, secrets: Sequence[str]) -> bool:
    """True if the forwarded text contains one of the secrets."""
    if verdict.forward is None:
        return False
    text = json.dumps(json.loads(verdict.forward), ensure_ascii=False)
    return any(json.dumps(secret, ensure_ascii=False)[1:-1] in text for secret in secrets)


def rules_of(verdict: Verdict) -> tuple[str, ...]:
    """The rules of the findings, those with the strongest action first."""
    ordered = sorted(verdict.findings, key=lambda finding: -finding.action)
    return tuple(dict.fromkeys(finding.rule for finding in ordered))


def _outcome(judged: _Judged, way: Way) -> Outcome:
    verdict = judged.verdict
    if judged.is_changed:
        return Outcome.BLOCKED
    if judged.is_restorable:
        return Outcome.QUIET
    if way is Way.DEFINITION and _left_out(verdict):
        return Outcome.BLOCKED
    return {
        Action.ALLOW: Outcome.QUIET,
        Action.WARN: Outcome.WARNED,
        Action.REDACT: Outcome.REDACTED,
        Action.CUT: Outcome.CUT,
        Action.BLOCK: Outcome.BLOCKED,
    }[verdict.action]


def _left_out(verdict: Verdict) -> bool:
    """True if a tool or the server's instructions are withheld."""
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
    talk.ask(method, REQUEST_PARAMS[method])
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
    """A tool with the members that every tool must have."""
    return {"inputSchema": {"type": "object"}, **_object(tool)}


def _play_flow(talk: Conversation, body: Object) -> Iterator[_Judged]:
    """Play the calls and their answers; the answer to the last call is not sent."""
    steps, tools = body["steps"], body["tools"]
    assert isinstance(steps, list)
    assert isinstance(tools, list)
    listed = [_object(tool)["name"] for tool in tools]
    named = dict.fromkeys(str(_object(step)["tool"]) for step in steps)
    others = [_plain_tool(name) for name in named if name not in listed]
    talk.open({}, [*(_whole_tool(tool) for tool in tools), *others])
    for number, step in enumerate(map(_object, steps), 1):
        meant = step.get("arguments", {})
        arguments = talk.with_placeholders(meant) if talk.honest else meant
        call = talk.ask("tools/call", {"name": step["tool"], "arguments": arguments})
        forward = call.verdict.forward
        yield replace(call, is_changed=talk.honest and _arguments_of(forward) not in (None, meant))
        if number < len(steps) and forward is not None and "result" in step:
            result = step["result"]
            if isinstance(result, str):
                result = {"content": [{"type": "text", "text": result}]}
            answer = talk.answer(result)
            talk.note_placeholders(answer.verdict)
            yield replace(
                answer, is_restorable=talk.honest and answer.verdict.action is Action.REDACT
            )


def _arguments_of(frame: bytes | None) -> Json:
    """The arguments that the server got; None if it did not get the call."""
    return None if frame is None else _object(json.loads(frame)["params"])["arguments"]


_PLAYERS = {
    Way.RESULT: _play_result,
    Way.ARGUMENTS: _play_arguments,
    Way.DEFINITION: _play_definition,
    Way.FLOW: _play_flow,
}
