"""Plain calls and their results, which pass after one look, without a value or a finding.

Most frames are plain. Of every other one nothing is remembered here, and `judge` judges it.
"""

from __future__ import annotations

from pipeguard.firewall.finding import Action, Direction, MessageKind, Verdict
from pipeguard.firewall.protocol.message import PlainOutline
from pipeguard.firewall.protocol.pending import PendingRequest
from pipeguard.firewall.session.guard import Guard
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
    if not detector.is_plain_call(guard, outline, frame):
        return None
    request = PendingRequest(outline.id_token, _CALL, tool, now, outline.progress_token)
    request.frame_bytes = len(frame)
    request.call = detector.name_targets(_CALL, tool, frame, len(frame))
    request.call_values = outline.values
    kind, none = MessageKind.REQUEST, ()
    verdict = Verdict(TO_SERVER, frame, Action.ALLOW, frame, None, none, event, kind, _CALL, tool)
    state.admit_call(request)
    try:
        detector.record_request(guard, tool, frame, none, is_granted=False)
        if guard.notes is not None:
            guard.notes.add_caller(event.partition(".c")[0])
        state.request_sent(TO_SERVER, request)  # last: nothing may fail once it counts as sent
    finally:
        if not request.forwarded:
            state.drop(TO_SERVER, request)
    return verdict


def _pass_result(
    guard: Guard, state: ConversationState, outline: PlainOutline, arrival: Arrival
) -> Verdict | None:
    request, (frame, now, event) = state.find(outline.id_token), arrival
    if request is None or request.tool is None or request.take_answer is not None:
        return None
    if guard.notes is not None or not guard.detector.is_plain_result(outline, frame):
        return None
    guard.detector.record_result(guard, request, frame, now)
    names, seconds = request.record_names, now - request.since
    given = TO_CLIENT, frame, Action.ALLOW, frame, None, (), event, MessageKind.RESULT, *names
    verdict = Verdict(*given, request_bytes=request.frame_bytes, answer_seconds=seconds)
    return verdict if state.drop(TO_SERVER, request) else None  # last, for the same reason
