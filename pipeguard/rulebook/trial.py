"""Judges any text as a tool's result, arguments or definition, and locates its findings.

The text is put into frames, and a Session judges them, so that the outcome is that of `wrap`: by
rules, views, policy, and whether a secret can be redacted. Pins and flows play no part.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from enum import Enum
from typing import NamedTuple

from pipeguard.config.json_text import Json
from pipeguard.config.tree import Node, UnreadableError
from pipeguard.detect.detector import Engines, make_guard
from pipeguard.detect.scanning.scan_budget import Dropped
from pipeguard.firewall.finding import Action, Direction, Finding, greatest, worst_first
from pipeguard.firewall.pins.fingerprint import Pin, canonical
from pipeguard.firewall.policy import Policy, Trust
from pipeguard.firewall.protocol.places import LISTS, pointer_step
from pipeguard.firewall.session import events, lifecycle
from pipeguard.firewall.session.session import Session

USUAL_NAME = "text"  # of the tool and the server by default
USUAL_KEY = "input"  # of a plain-text argument
_LOCAL = "Local."  # a description of a tool that reaches nothing beyond this machine


class TextRole(Enum):
    """The part of a message that a text is judged as."""

    RESULT = "result"
    ARGUMENTS = "arguments"
    DEFINITION = "definition"


class TrialInput(NamedTuple):
    """A text to judge.

    Attributes:
        text: plain, or JSON.
        role: the part of a message that it is.
        tool: it comes from this tool or goes to it; None if it does not matter.
        server: the server of the tool; None if it does not matter.
        key: the name of the argument, for a plain text.
        explains: True to say also which words a step looked at, and what was dropped.
    """

    text: str
    role: TextRole = TextRole.RESULT
    tool: str | None = None
    server: str | None = None
    key: str = USUAL_KEY
    explains: bool = False


class LocatedFinding(NamedTuple):
    """A finding, and its start and end in the text; None if unknown.

    A finding in a decoded or folded view is located by the string that contains it.
    """

    finding: Finding
    start: Spot | None
    end: Spot | None


class Trial(NamedTuple):
    """The outcome for a text.

    Attributes:
        action: of all findings together.
        findings: the most serious first.
        read_as: the interpretation of the text, in words.
        kept: the action for arguments of a server that keeps all on this machine: only a name
            is known of its tools here, so `action` assumes that the arguments leave.
        dropped: matches that do not count, if somebody asks why; their last step says so.
    """

    action: Action
    findings: tuple[LocatedFinding, ...]
    read_as: str
    kept: Action
    dropped: tuple[LocatedFinding, ...] = ()


class _Framed(NamedTuple):
    """A text in frames.

    Attributes:
        request: contains the text if it is arguments.
        answer: the server's; empty if the request contains the text.
        prefix: the pointer of the text in its frame.
        plain: True if the text is one string there.
        read_as: the interpretation of the text, in words.
    """

    request: str
    answer: str
    prefix: str
    plain: bool
    read_as: str


def judge(
    engines: Engines, policy: Policy, trial_input: TrialInput, key: bytes, now: float
) -> Trial:
    """Judge a text.

    Args:
        engines: the compiled rules.
        policy: the actions for findings; its lists of tools apply if the tool is named.
        trial_input: the text.
        key: random bytes, as for a Guard.
        now: seconds on the session's clock.
    """
    shape: object = None  # of a text that is not JSON
    with suppress(ValueError, RecursionError):
        shape = json.loads(trial_input.text)
    named = trial_input.tool or _call_message(shape)
    tool = named or USUAL_NAME
    framed = _FRAMERS[trial_input.role](trial_input, shape, tool)
    if named is None:
        layers = (
            layer._replace(tools_allow=(), tools_block=(), tools_ask=()) for layer in policy.layers
        )
        policy = policy._replace(layers=tuple(layers))
    is_definition = trial_input.role is TextRole.DEFINITION
    if is_definition:
        policy = policy._replace(trust=Trust.FIRST_USE)

    def find(engines: Engines, **definition: str) -> list[Finding]:
        text = canonical({"name": tool, **definition}).decode()
        pin = Pin("tool", tool, text, "", None, None, "")
        pins = {} if is_definition else {("tool", tool): pin}
        guard = make_guard(trial_input.server or USUAL_NAME, engines, policy, pins, key)
        guard.contents_key = key  # with it, and with room, a call waits for a person
        session = Session(guard, "SCAN")
        session.waiting_room = lifecycle.WaitingRoom()
        verdict = session.take(events.Frame(Direction.TO_SERVER, framed.request.encode(), now))
        if framed.answer and verdict.forward is not None:  # a refused call has no result
            verdict = session.take(events.Frame(Direction.TO_CLIENT, framed.answer.encode(), now))
        return worst_first(each for each in verdict.findings if not each.rule.startswith("trust."))

    dropped = Dropped()
    asked = Engines(*(engine.clone(dropped) for engine in engines))
    findings = find(asked if trial_input.explains else engines)
    action = kept = greatest(findings)
    if trial_input.role is TextRole.ARGUMENTS and findings:
        kept = greatest(find(engines, description=_LOCAL))
    located, others = (
        tuple(_locate(trial_input.text, framed, some)) for some in (findings, dropped.findings)
    )
    return Trial(action, located, framed.read_as, kept, others)


# --- frames -----------------------------------------------------------------------------


def _as_result(trial_input: TrialInput, shape: object, tool: str) -> _Framed:
    params = f'{{"name": {json.dumps(tool)}, "arguments": {{}}}}'
    text = trial_input.text
    if _is_answer(shape):
        request = _request("tools/call", params, _id(text))
        return _Framed(request, text, "", plain=False, read_as="a message with a result")
    request = _request("tools/call", params)
    if isinstance(shape, dict) and (
        isinstance(shape.get("content"), list) or "structuredContent" in shape
    ):
        return _Framed(request, _answer(text), "/result", plain=False, read_as="a tool's result")
    answer = _answer(f'{{"content": [{{"type": "text", "text": {_quote(text)}}}]}}')
    prefix, read_as = "/result/content/0/text", "text of a result"
    return _Framed(request, answer, prefix, plain=True, read_as=read_as)


def _as_arguments(trial_input: TrialInput, shape: object, tool: str) -> _Framed:
    if isinstance(shape, dict) and "jsonrpc" in shape and "method" in shape:
        return _Framed(trial_input.text, "", "", plain=False, read_as="a message with a request")
    plain = not isinstance(shape, dict)
    arguments, prefix = trial_input.text, "/params/arguments"
    if plain:
        arguments = f"{{{json.dumps(trial_input.key)}: {_quote(trial_input.text)}}}"
        prefix += pointer_step(trial_input.key)
    request = _request("tools/call", f'{{"name": {json.dumps(tool)}, "arguments": {arguments}}}')
    read_as = f"the argument {trial_input.key!r}" if plain else "a tool's arguments"
    return _Framed(request, "", prefix, plain, read_as)


def _as_definition(trial_input: TrialInput, shape: object, tool: str) -> _Framed:
    text, method, id_token, plain = trial_input.text, "tools/list", "1", False
    if isinstance(shape, list):
        answer, prefix = _answer(f'{{"tools": {text}}}'), "/result/tools"
        read_as = f"{len(shape)} tools"
    elif not isinstance(shape, dict):
        made = f'{{"name": {json.dumps(tool)}, "description": {_quote(text)}, "inputSchema": {{}}}}'
        answer, prefix = _answer(f'{{"tools": [{made}]}}'), "/result/tools/0/description"
        read_as, plain = "a tool's description", True
    elif (listed := _list_message(shape["result"] if _is_answer(shape) else shape)) is None:
        answer, prefix = _answer(f'{{"tools": [{text}]}}'), "/result/tools/0"
        read_as = "one tool"
    else:
        method, read_as = listed
        answer, prefix = _answer(text), "/result"
        if _is_answer(shape):
            id_token, answer, prefix = _id(text), text, ""
    request = _request(method, _OPENING if method == "initialize" else "{}", id_token)
    return _Framed(request, answer, prefix, plain, read_as)


_OPENING = '{"protocolVersion": "2025-11-25", "capabilities": {}}'


def _list_message(result: object) -> tuple[str, str] | None:
    """The method with such a result, and the result in words; None if no method has it."""
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


def _call_message(shape: object) -> str | None:
    """The tool that a message calls."""
    params = shape.get("params") if isinstance(shape, dict) and "jsonrpc" in shape else None
    name = params.get("name") if isinstance(params, dict) else None
    return name if isinstance(name, str) else None


_FRAMERS = {
    TextRole.RESULT: _as_result,
    TextRole.ARGUMENTS: _as_arguments,
    TextRole.DEFINITION: _as_definition,
}


def _request(method: str, params: str = "{}", request: str = "1") -> str:
    head = f'"jsonrpc": "2.0", "id": {request}, "method": {json.dumps(method)}'
    return f'{{{head}, "params": {params}}}'


def _answer(result: str) -> str:
    return f'{{"jsonrpc": "2.0", "id": 1, "result": {result}}}'


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _id(text: str) -> str:
    """The id of a message, as written there."""
    start, end = value_ranges(text, ["/id"]).get("/id", (0, 0))
    return text[start:end] or "1"


# --- locations --------------------------------------------------------------------------


def _locate(text: str, framed: _Framed, findings: Sequence[Finding]) -> Iterator[LocatedFinding]:
    pointers = [_pointer(framed, finding) for finding in findings]
    ranges = {}
    if findings and not framed.plain:
        ranges = value_ranges(text, set(pointers))
    for finding, pointer in zip(findings, pointers, strict=True):
        offsets: tuple[int, ...] = ()
        span = (finding.start, finding.end)[: 1 + (finding.end > finding.start)]
        if framed.plain and pointer == "":
            offsets = span
        elif pointer in ranges:
            value = ranges[pointer]
            is_text = text[value[0]] == '"' and len(span) > 1
            offsets = tuple(text_offset(text, value, at) for at in span) if is_text else value[:1]
        start, end = (*(spot(text, at) for at in offsets), None, None)[:2]
        yield LocatedFinding(finding, start, end)


def _pointer(framed: _Framed, finding: Finding) -> str | None:
    """A finding's pointer in the text; None for a finding in the frame around it."""
    rest = finding.pointer.removeprefix(framed.prefix)
    is_within = finding.pointer.startswith(framed.prefix) and (not rest or rest.startswith("/"))
    return rest if is_within and finding.place != "envelope" else None


# --- spots ------------------------------------------------------------------------------
# Lines and columns of findings: from JSON pointers and offsets to an editor's positions.

Range = tuple[int, int]

_LETTER = re.compile(
    r"(?s)\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|[^\\]",
)


class Spot(NamedTuple):
    """A position in a text as editors count it: from 1, in characters."""

    line: int
    column: int


def spot(text: str, offset: int) -> Spot:
    """The line and column of an offset."""
    return Spot(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


def value_ranges(text: str, wanted: Collection[str | None]) -> dict[str, Range]:
    """The ranges of the values at some JSON pointers, quotes included.

    Of two members with the same name, the first counts. A text nested too deeply has none.

    Args:
        text: JSON.
        wanted: pointers as findings have them (firewall.protocol.places).
    """
    ranges: dict[str, Range] = {}

    def visit(node: Node, at: str) -> None:
        if at in wanted:
            ranges.setdefault(at, (node.start, node.end))
        for member in node.members:
            visit(member.value, at + pointer_step(member.key))
        for index, item in enumerate(node.items):
            visit(item, at + pointer_step(index))

    with suppress(UnreadableError):
        visit(Json(comments=False, trailing_commas=False).read(text), "")
    return ranges


def text_offset(text: str, string: Range, offset: int) -> int:
    """The offset in a JSON text of a character of one of its strings, which may have escapes."""
    at, end = string[0] + 1, string[1] - 1
    for _ in range(offset):
        letter = _LETTER.match(text, at, end)
        if not letter:
            break
        at = letter.end()
    return at
