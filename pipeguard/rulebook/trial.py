"""Any text, judged as if it had come by: as a result, as arguments, as a definition.

Puts it into the frames in which it would come and gives them to a Session, so that what is said of
it is what `wrap` does: rules, views, policy, and whether a secret can be taken out. Pins are left
aside, and so is what other calls brought: there is one text. Then it says where in the text each
finding stands.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from pipeguard.core.finding import Action, Direction, Finding, Verdict, greatest
from pipeguard.core.pins.fingerprint import Pin, canonical
from pipeguard.core.protocol.places import LISTS, pointer_step
from pipeguard.core.rules.policy import Policy, Trust
from pipeguard.core.session.guard import Engines, Guard
from pipeguard.core.session.session import Session
from pipeguard.rulebook.spots import Range, Spot, inside, spot, values

USUAL_NAME = "text"  # of the tool, and of the server, where none is given
USUAL_KEY = "input"  # of the argument that is a plain text
RUN = "SCAN"


class Taken(Enum):
    """As what a text is judged."""

    RESULT = "result"
    ARGUMENTS = "arguments"
    DEFINITION = "definition"


class TrialInput(NamedTuple):
    """What is judged, and as what.

    Attributes:
        text: plain, or JSON.
        taken: as what.
        tool: that it comes from or goes to; None where it does not matter.
        server: whose; None where it does not matter.
        key: the argument's name, of a plain text.
    """

    text: str
    taken: Taken = Taken.RESULT
    tool: str | None = None
    server: str | None = None
    key: str = USUAL_KEY


class Located(NamedTuple):
    """A finding, and where in the text it begins and ends; None where that is not known.

    What was seen in another reading than the text itself is told by the string that it stands in.
    """

    finding: Finding
    start: Spot | None
    end: Spot | None


class Trial(NamedTuple):
    """What would become of a text.

    Attributes:
        action: of all findings together.
        findings: the most serious first.
        read_as: what the text was taken for, in words.
    """

    action: Action
    findings: tuple[Located, ...]
    read_as: str


class _Framed(NamedTuple):
    """A text in its frames.

    Attributes:
        asked: the request; what is judged, where it is arguments.
        answer: what the server says to it; empty where it is the request that is judged.
        prefix: the pointer of the text in the frame that is judged.
        plain: True where the text stands there as one string.
        read_as: what it was taken for.
    """

    asked: str
    answer: str
    prefix: str
    plain: bool
    read_as: str


def judge(engines: Engines, policy: Policy, subject: TrialInput, key: bytes, now: float) -> Trial:
    """Say what would become of a text.

    Args:
        engines: the compiled rules.
        policy: what to do about findings; which tools may be called is asked where one is named.
        subject: what is judged.
        key: random bytes, as of a Guard.
        now: seconds on the session's clock.
    """
    shape = _shape(subject.text)
    named = subject.tool or _called(shape)
    tool = named or USUAL_NAME
    framed = _FRAMERS[subject.taken](subject, shape, tool)
    if named is None:
        layers = (layer._replace(tools_allow=(), tools_block=()) for layer in policy.layers)
        policy = policy._replace(layers=tuple(layers))
    definition = canonical({"name": tool}).decode()
    pins = {("tool", tool): Pin("tool", tool, definition, "", None, None, "")}
    if subject.taken is Taken.DEFINITION:
        policy, pins = policy._replace(trust=Trust.FIRST_USE), {}
    guard = Guard(subject.server or USUAL_NAME, engines, policy, pins, key)
    verdict = _verdict(Session(guard, RUN), framed, now)
    findings = [found for found in verdict.findings if not found.rule.startswith("trust.")]
    findings.sort(key=lambda found: (-found.action, -found.severity, -found.confidence))
    located = tuple(_located(subject.text, framed, findings))
    return Trial(greatest(findings), located, framed.read_as)


def _verdict(session: Session, framed: _Framed, now: float) -> Verdict:
    verdict = session.receive(Direction.TO_SERVER, framed.asked.encode(), now)
    if not framed.answer or verdict.forward is None:
        return verdict  # a call that is not made has no result
    return session.receive(Direction.TO_CLIENT, framed.answer.encode(), now)


# --- frames -----------------------------------------------------------------------------


def _as_result(subject: TrialInput, shape: object, tool: str) -> _Framed:
    params = f'{{"name": {json.dumps(tool)}, "arguments": {{}}}}'
    if _is_answer(shape):
        asked = _request("tools/call", params, _id(subject.text))
        return _Framed(asked, subject.text, "", plain=False, read_as="a message with a result")
    asked = _request("tools/call", params)
    if isinstance(shape, dict) and (
        isinstance(shape.get("content"), list) or "structuredContent" in shape
    ):
        answer = _answer(subject.text)
        return _Framed(asked, answer, "/result", plain=False, read_as="a tool's result")
    answer = _answer(f'{{"content": [{{"type": "text", "text": {_quoted(subject.text)}}}]}}')
    return _Framed(asked, answer, "/result/content/0/text", plain=True, read_as="text of a result")


def _as_arguments(subject: TrialInput, shape: object, tool: str) -> _Framed:
    if isinstance(shape, dict) and "jsonrpc" in shape and "method" in shape:
        return _Framed(subject.text, "", "", plain=False, read_as="a message with a request")
    plain = not isinstance(shape, dict)
    arguments, prefix = subject.text, "/params/arguments"
    if plain:
        arguments = f"{{{json.dumps(subject.key)}: {_quoted(subject.text)}}}"
        prefix += pointer_step(subject.key)
    asked = _request("tools/call", f'{{"name": {json.dumps(tool)}, "arguments": {arguments}}}')
    read_as = f"the argument {subject.key!r}" if plain else "a tool's arguments"
    return _Framed(asked, "", prefix, plain, read_as)


def _as_definition(subject: TrialInput, shape: object, tool: str) -> _Framed:
    text = subject.text
    if isinstance(shape, list):
        answer = _answer(f'{{"tools": {text}}}')
        read_as = f"{len(shape)} tools"
        return _Framed(
            _request("tools/list"), answer, "/result/tools", plain=False, read_as=read_as
        )
    if not isinstance(shape, dict):
        made = (
            f'{{"name": {json.dumps(tool)}, "description": {_quoted(text)}, "inputSchema": {{}}}}'
        )
        answer, prefix = _answer(f'{{"tools": [{made}]}}'), "/result/tools/0/description"
        read_as = "a tool's description"
        return _Framed(_request("tools/list"), answer, prefix, plain=True, read_as=read_as)
    result = shape["result"] if _is_answer(shape) else shape
    id_token, answer, prefix = "1", _answer(text), "/result"
    if result is not shape:
        id_token, answer, prefix = _id(text), text, ""
    found = _listed(result)
    if found is None:
        answer, prefix = _answer(f'{{"tools": [{text}]}}'), "/result/tools/0"
        return _Framed(_request("tools/list"), answer, prefix, plain=False, read_as="one tool")
    asked = _request(found[0], _OPENING if found[0] == "initialize" else "{}", id_token)
    return _Framed(asked, answer, prefix, plain=False, read_as=found[1])


_OPENING = '{"protocolVersion": "2025-11-25", "capabilities": {}}'


def _listed(result: object) -> tuple[str, str] | None:
    """The method whose result this is, and what that lists; None for no such result."""
    if not isinstance(result, dict):
        return None
    for method, (member, _, _) in LISTS.items():
        if isinstance(result.get(member), list):
            return method, f"a list of {len(result[member])} definitions"
    if "instructions" in result or "serverInfo" in result:
        return "initialize", "a server's opening"
    return None


def _is_answer(shape: object) -> bool:
    return (
        isinstance(shape, dict) and "jsonrpc" in shape and not {"result", "error"}.isdisjoint(shape)
    )


def _called(shape: object) -> str | None:
    """The tool that a message calls."""
    params = shape.get("params") if isinstance(shape, dict) and "jsonrpc" in shape else None
    name = params.get("name") if isinstance(params, dict) else None
    return name if isinstance(name, str) else None


_FRAMERS: dict[Taken, Callable[[TrialInput, object, str], _Framed]] = {
    Taken.RESULT: _as_result,
    Taken.ARGUMENTS: _as_arguments,
    Taken.DEFINITION: _as_definition,
}


def _request(method: str, params: str = "{}", request: str = "1") -> str:
    head = f'"jsonrpc": "2.0", "id": {request}, "method": {json.dumps(method)}'
    return f'{{{head}, "params": {params}}}'


def _answer(result: str) -> str:
    return f'{{"jsonrpc": "2.0", "id": 1, "result": {result}}}'


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _shape(text: str) -> object:
    """A JSON text as any parser would read it: only its shape is asked for; None for no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _id(text: str) -> str:
    """The id of a message, as it is spelt."""
    start, end = values(text, ["/id"]).get("/id", (0, 0))
    return text[start:end] or "1"


# --- where it stands --------------------------------------------------------------------


def _located(text: str, framed: _Framed, findings: Iterable[Finding]) -> Iterator[Located]:
    found = list(findings)
    pointers = [_pointer(framed, one) for one in found]
    ranges: dict[str, Range] = {}
    if found and not framed.plain:
        ranges = values(text, {one for one in pointers if one is not None})
    for one, pointer in zip(found, pointers, strict=True):
        if framed.plain and pointer == "":
            yield _in_text(text, one)
        elif pointer is not None and pointer in ranges:
            yield _in_json(text, one, ranges[pointer])
        else:
            yield Located(one, None, None)


def _pointer(framed: _Framed, found: Finding) -> str | None:
    """A finding's pointer in the text that was given; None for one of the frame around it."""
    rest = found.pointer.removeprefix(framed.prefix)
    is_within = found.pointer.startswith(framed.prefix) and (not rest or rest.startswith("/"))
    return rest if is_within and found.place != "envelope" else None


def _in_text(text: str, found: Finding) -> Located:
    end = spot(text, found.end) if found.end > found.start else None
    return Located(found, spot(text, found.start), end)


def _in_json(text: str, found: Finding, stands: Range) -> Located:
    start, end = stands
    if text[start] != '"' or found.end <= found.start:
        return Located(found, spot(text, start), None)
    start, end = inside(text, stands, found.start), inside(text, stands, found.end)
    return Located(found, spot(text, start), spot(text, end))
