"""The first look at a frame, which is enough for most calls and results.

Where PipeGuard inspects, the look is at the bytes: the detector sees nothing in them. Where others
inspect, it is at the members of a message whose value is known. What the look learns of any other
frame stays in its case, and is used again.
"""

from pipeguard.firewall.finding import (
    TO_CLIENT,
    TO_SERVER,
    MessageKind,
    Verdict,
)
from pipeguard.firewall.protocol.answers import NOTABLE, is_ordinary
from pipeguard.firewall.protocol.framing import KnownResult
from pipeguard.firewall.protocol.message import Message, parse, with_id
from pipeguard.firewall.protocol.pending import NO_CALL, PendingRequest, pending_request
from pipeguard.firewall.protocol.strict_json import ParsedFrame
from pipeguard.firewall.session.admission import find_obstacle
from pipeguard.firewall.session.case import Case
from pipeguard.firewall.session.guard import FrameLook
from pipeguard.firewall.session.settle import make_verdict, record_call, record_result

CALL = "tools/call"


def look(case: Case) -> Verdict | None:
    """The verdict on a call or a result if one look sees nothing in it; else None.

    Raises:
        Refusal: the frame is not a message, or the call may not be sent now.
    """
    if not case.inspects:
        return _look_at_members(case)
    seen = case.guard.detector.look(case.direction, case.frame)
    if seen is None:
        return None
    if case.direction is TO_SERVER:
        return _look_at_call(case, seen)
    return _look_at_result(case, seen)


def find_call(case: Case, id_token: str | None) -> PendingRequest | None:
    """Close the request that an answer belongs to; return it if it is a call with this id."""
    request, case.is_late = case.state.close(case.direction, id_token, case.now)
    case.request = request
    case.is_closed = True
    if request is None or request.tool is None or request.is_own:
        return None
    return request if request.id_token == id_token else None


# --- the bytes --------------------------------------------------------------------------


def _look_at_call(case: Case, seen: FrameLook) -> Verdict | None:
    guard = case.guard
    outline = seen.outline
    tool = outline.tool or ""
    policy = guard.policy
    is_named = policy.find_refusal(tool) or policy.asks_user(tool)
    if is_named or find_obstacle(guard, "tool", tool) or guard.shared.why_out():
        return None
    request = PendingRequest(outline.id_token, CALL, tool, case.now, outline.progress_token)
    request.frame_bytes = len(case.frame)
    request.call_values = outline.values
    request.call = seen.call
    case.is_plain = True
    case.request = request
    case.sees_nothing = seen.sees_nothing(seen.call)
    if not case.sees_nothing or seen.may_leak(guard):
        case.guard = guard.snapshot(policy)
        return None
    return _pass_request(case, request)


def _pass_request(case: Case, request: PendingRequest) -> Verdict:
    verdict = make_verdict(case, [], case.frame)
    case.state.admit_call(request)
    try:
        record_call(case, request, verdict)
        case.state.request_sent(TO_SERVER, request, {})  # last, as in `judge`
    finally:
        if not request.forwarded:
            case.state.drop(request)
    return verdict


def _look_at_result(case: Case, seen: FrameLook) -> Verdict | None:
    request = find_call(case, seen.outline.id_token)
    if request is None or case.obstacles is not None:
        return None
    case.kind = MessageKind.RESULT
    if not seen.sees_nothing(request.call or NO_CALL):
        case.is_plain = True
        return None
    record_result(case, request, case.frame)
    return make_verdict(case, [], case.frame)


# --- the members ------------------------------------------------------------------------


def _look_at_members(case: Case) -> Verdict | None:
    if isinstance(case.frame, KnownResult) and case.direction is TO_CLIENT:
        return _pass_result(case, case.frame.id_token)
    message = parse(case.frame) if isinstance(case.frame, ParsedFrame) else None
    if not isinstance(message, Message) or message.frame is not case.frame:
        return None
    if case.direction is TO_SERVER:
        return _pass_call(case, message)
    token = message.id_token or ""
    is_plain = is_ordinary(message.value) and with_id(message, token) is message
    return _pass_result(case, token) if is_plain else None


def _pass_call(case: Case, message: Message) -> Verdict | None:
    if message.kind is not MessageKind.REQUEST or message.method != CALL:
        return None
    if not (NOTABLE.isdisjoint(message.value) and NOTABLE.isdisjoint(message.params)):
        return None
    case.request = pending_request(message, case.now)
    return _pass_request(case, case.request)


def _pass_result(case: Case, id_token: str) -> Verdict | None:
    if find_call(case, id_token) is None:
        return None
    case.kind = MessageKind.RESULT
    return make_verdict(case, [], case.frame)
