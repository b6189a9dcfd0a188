"""Plain calls and their results: those in which nothing is found. Most frames are.

One look at an outline tells it of most; of the others, reading all of their text does. Where only
the protocol is checked, their values tell it. Of a frame in which anything is found nothing is
remembered here: `judge` judges it.
"""

from __future__ import annotations

from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.finding import Action, Direction, MessageKind, Verdict
from pipeguard.firewall.protocol.answers import NOTABLE, is_ordinary
from pipeguard.firewall.protocol.framing import KnownResult
from pipeguard.firewall.protocol.message import Message, PlainOutline, parse, with_id
from pipeguard.firewall.protocol.pending import NO_CALL, PendingRequest, pending_request
from pipeguard.firewall.protocol.places import PARTS
from pipeguard.firewall.protocol.strict_json import ParsedFrame
from pipeguard.firewall.session.guard import Context, Guard
from pipeguard.firewall.session.lifecycle import ConversationState
from pipeguard.records import NamedTuple

_CALL = "tools/call"
TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT


class Arrival(NamedTuple):
    """One frame that came.

    Attributes:
        frame: one message.
        now: seconds on the session's clock.
        event: names the verdict on it.
    """

    frame: bytes
    now: float
    event: str


def pass_plainly(
    guard: Guard, state: ConversationState, direction: Direction, arrival: Arrival
) -> Verdict | None:
    """The verdict on a tool call or a result in which nothing is found; None for other frames.

    Args:
        guard: what is known of the server.
        state: of the conversation.
        direction: which way the frame travels.
        arrival: the frame.

    Raises:
        Refusal: the call may not be sent now.
    """
    outline = guard.detector.outline(direction, arrival.frame)
    if outline is None:
        return None
    pass_one = _pass_call if direction is TO_SERVER else _pass_result
    return pass_one(guard, state, outline, arrival)


def _pass_call(
    guard: Guard, state: ConversationState, outline: PlainOutline, arrival: Arrival
) -> Verdict | None:
    tool, policy, detector = outline.tool or "", guard.policy, guard.detector
    pin, (frame, now, event) = guard.pin("tool", tool), arrival
    if pin is None or pin.held_definition is not None:
        return None
    if policy.find_refusal(tool) or policy.asks_user(tool):
        return None
    request = PendingRequest(outline.id_token, _CALL, tool, now, outline.progress_token)
    request.frame_bytes = len(frame)
    request.call = detector.name_targets(_CALL, tool, frame, len(frame))
    request.call_values = outline.values
    verdict = _call_verdict(tool, arrival)
    sees_nothing = detector.sees_nothing(TO_SERVER, outline)
    may_leak = detector.may_leak(guard, outline)
    try:
        state.admit_call(request)  # before it is looked up: what is refused leaves no trace
        if may_leak or not sees_nothing:
            context, message = _read(guard, request, arrival, MessageKind.REQUEST)
            if context.guard.policy is not policy:
                return None  # replaced meanwhile: one policy per message
            if not sees_nothing and detector.read_message(context, TO_SERVER, message):
                return None
            if may_leak and detector.find_leaks(context, message, outline.values):
                return None
        detector.record_request(guard, tool, frame, (), is_granted=False)
        if guard.notes is not None:
            guard.notes.add_caller(event.partition(".c")[0])
        state.request_sent(TO_SERVER, request)  # last: nothing may fail once it counts as sent
    finally:
        if may_leak:
            detector.settle_call(event, went_on=request.forwarded)
        if not request.forwarded:
            state.drop(TO_SERVER, request)
    return verdict


def _pass_result(
    guard: Guard, state: ConversationState, outline: PlainOutline, arrival: Arrival
) -> Verdict | None:
    request, (frame, now, _) = find_call(state, outline.id_token), arrival
    if request is None or guard.notes is not None:
        return None
    if not guard.detector.sees_nothing(TO_CLIENT, outline):
        context, message = _read(guard, request, arrival, MessageKind.RESULT)
        if guard.detector.read_message(context, TO_CLIENT, message):
            return None
    verdict = _result_verdict(request, arrival)
    if not state.drop(TO_SERVER, request):
        return None  # cancelled or answered meanwhile
    try:
        guard.detector.record_result(guard, request, frame, now)
    except Exception:
        state.reopen(TO_CLIENT, request)  # closed by the refusal of this answer
        raise
    return verdict


def find_call(state: ConversationState, id_token: str) -> PendingRequest | None:
    """The tool call of the client's that a result with this very id answers; None for others."""
    request = state.find(id_token)
    if request is None or request.tool is None or request.take_answer is not None:
        return None
    return request


def _call_verdict(tool: str | None, arrival: Arrival) -> Verdict:
    frame, event, kind = arrival.frame, arrival.event, MessageKind.REQUEST
    return Verdict(TO_SERVER, frame, Action.ALLOW, frame, None, (), event, kind, _CALL, tool)


def _result_verdict(request: PendingRequest, arrival: Arrival) -> Verdict:
    names, seconds = request.record_names, arrival.now - request.since
    frame, event = arrival.frame, arrival.event
    given = TO_CLIENT, frame, Action.ALLOW, frame, None, (), event, MessageKind.RESULT, *names
    return Verdict(*given, request_bytes=request.frame_bytes, answer_seconds=seconds)


def _read(
    guard: Guard, request: PendingRequest, arrival: Arrival, kind: MessageKind
) -> tuple[Context, Message]:
    """Read the value of a frame that was outlined, to look closer."""
    message = parse(arrival.frame)
    assert isinstance(message, Message)  # noqa: S101  what is outlined is one
    at = PARTS[kind], request.method, arrival.now, request.tool, ()
    call = request.call or NO_CALL
    return Context(guard.snapshot(), *at, Budgets(), call, None, arrival.event), message


# --- by the protocol alone ----------------------------------------------------------------


def pass_by_protocol(
    state: ConversationState, direction: Direction, arrival: Arrival
) -> Verdict | None:
    """The verdict of `ProtocolJudge` on an ordinary call or result; None for other frames.

    Args:
        state: of the conversation.
        direction: which way the frame travels.
        arrival: the frame.

    Raises:
        Refusal: the frame is no message, or the call may not be sent now.
    """
    if isinstance(arrival.frame, KnownResult) and direction is TO_CLIENT:
        return _pass_known_result(state, arrival.frame.id_token, arrival)
    if not isinstance(arrival.frame, ParsedFrame):
        return None
    message = parse(arrival.frame)
    if not isinstance(message, Message) or message.frame is not arrival.frame:
        return None
    if direction is TO_SERVER:
        return _pass_known_call(state, message, arrival)
    token = message.id_token or ""
    is_plain = is_ordinary(message.value) and with_id(message, token) is message
    return _pass_known_result(state, token, arrival) if is_plain else None


def _pass_known_call(
    state: ConversationState, message: Message, arrival: Arrival
) -> Verdict | None:
    params = message.value.get("params")
    if message.kind is not MessageKind.REQUEST or message.method != _CALL:
        return None
    if not isinstance(params, dict) or not NOTABLE.isdisjoint(params):
        return None
    if not NOTABLE.isdisjoint(message.value):
        return None
    request = pending_request(message, arrival.now)
    verdict = _call_verdict(request.tool, arrival)
    state.admit_call(request)
    state.request_sent(TO_SERVER, request)
    return verdict


def _pass_known_result(state: ConversationState, id_token: str, arrival: Arrival) -> Verdict | None:
    request = find_call(state, id_token)
    if request is None:
        return None
    verdict = _result_verdict(request, arrival)
    return verdict if state.drop(TO_SERVER, request) else None
