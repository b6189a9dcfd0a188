"""Judges one message in full: a request, a notification or an answer.

A frame that `look` did not pass is parsed, once; the results of the look are used again.
"""

from pipeguard.errors import Refusal
from pipeguard.firewall.budgets import Budgets, TooLongError
from pipeguard.firewall.finding import (
    TO_CLIENT,
    Action,
    Finding,
    MessageKind,
    Verdict,
    greatest,
    have_private,
    make_block,
    make_warning,
)
from pipeguard.firewall.protocol import answers, methods, places, strict_json
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue
from pipeguard.firewall.protocol.message import (
    Message,
    envelope,
    parse,
    rewritten,
    with_id,
)
from pipeguard.firewall.protocol.pending import PendingRequest, pending_request
from pipeguard.firewall.session import contents, look, memory, refuse, replies, waiting
from pipeguard.firewall.session.case import Case
from pipeguard.firewall.session.find import find_in_message, find_in_request
from pipeguard.firewall.session.guard import PreparedMessage
from pipeguard.firewall.session.settle import make_verdict, record_call, record_result, settle

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
READING = frozenset({"resources/read", "tasks/get", "tasks/result"})  # as tools do


def parse_frame(case: Case) -> Message | list[JsonValue]:
    """Parse the frame; a batch as its members.

    Raises:
        Refusal: it is not a message that every parser reads alike.
        TooLongError: others wait, and it is no ordinary result.
    """
    if case.is_member:
        return envelope(case.frame, strict_json.parse_json(case.frame))
    case.guard = case.guard.snapshot(case.guard.policy)
    is_marked = case.frame.startswith(BYTE_ORDER_MARK)
    if case.budgets is None or is_marked:
        case.budgets = Budgets()
    elif not case.is_plain:
        raise TooLongError
    if is_marked and case.event.endswith(".s1"):
        why = "a byte order mark was removed"
        case.removed = (make_warning("protocol.byte-order-mark", why),)
        return parse(case.frame[len(BYTE_ORDER_MARK) :])
    return parse(case.frame)


def judge(case: Case, message: Message) -> Verdict:
    """The verdict on a message.

    Raises:
        Refusal: it breaks the protocol, or could not be judged.
    """
    prepared = _prepare(case, message)
    message = prepared.message
    case.kind = message.kind
    case.method = message.method
    if message.method is not None and not case.is_plain:
        methods.check_method(message)
    if message.kind is MessageKind.REQUEST:
        verdict = _judge_request(case, prepared)
    elif message.kind is MessageKind.NOTIFICATION:
        verdict = _restore(case, _judge_notification(case, message))
    else:
        verdict = _judge_answer(case, message)
    if case.extra or case.removed or case.pins:
        return verdict.with_findings(case.frame, (*case.extra, *case.removed), case.pins)
    return verdict


def _prepare(case: Case, message: Message) -> PreparedMessage:
    """A message of the server without PipeGuard's own secrets, or a call with its passages."""
    is_plain_result = case.direction is TO_CLIENT and case.is_plain
    if is_plain_result or not case.inspects:
        return PreparedMessage(message)
    prepared = case.guard.detector.prepare(case.guard, case.direction, message)
    if prepared.change is not None:
        case.removed = (prepared.change, *case.removed)
    return prepared


def _restore(case: Case, verdict: Verdict) -> Verdict:
    """Restore text that was masked for the client, before anything is recorded as sent."""
    if case.direction is TO_CLIENT or not case.inspects:
        return verdict
    return case.guard.detector.restore(verdict)


# --- requests and notifications ---------------------------------------------------------


def _judge_request(case: Case, prepared: PreparedMessage) -> Verdict:
    message = prepared.message
    request = case.waiting_call or case.request or pending_request(message, case.now)
    request.call = prepared.call
    request.call_values = prepared.values
    case.request = request
    wait_event = ""
    warning = None
    if case.waiting_call is None:
        warning = case.state.admit(case.direction, message, request)
    else:
        wait_event = request.held_event
    is_sent = False
    try:
        findings = find_in_request(case, message, request)
        if warning is not None:
            findings.append(warning)
        verdict = _settle_request(case, message, request, findings, wait_event)
        is_sent = verdict.forward is not None
    finally:
        case.guard.detector.remember(case.guard, memory.SettledCall(case.event, is_sent))
        if not request.forwarded:
            case.state.drop(request)
    return waiting.name_wait(verdict, wait_event)


def _settle_request(
    case: Case, message: Message, request: PendingRequest, findings: list[Finding], wait_event: str
) -> Verdict:
    """Hold a request until a person decides, or settle it, and record it if it is forwarded."""
    grant = ""
    if greatest(findings) >= Action.ASK:
        if request.tool is not None:  # a call without a tool's name cannot be granted
            findings, grant = waiting.use_grant(case, message, request.tool, findings)
        held = waiting.hold_call(case, request, findings)
        if held is not None:
            return held
        seconds = case.now - request.since
        if wait_event and greatest(findings) is Action.ASK:
            request.wait_outcome = f"Nobody allowed it within {seconds:.0f} s."
        why = f"nobody allowed it within {seconds:.0f} s while it waited"
        findings = waiting.end_wait(findings, why, wait_event)
    verdict = _restore(case, settle(case, message, findings))
    if verdict.forward is None:
        return verdict
    if wait_event:
        request.since = case.now
    if grant:
        verdict = verdict._replace(grant=grant)
    record_call(case, request, verdict)
    # Last: nothing may fail once it counts as sent.
    is_open = case.state.request_sent(case.direction, request, message.params)
    if wait_event and not is_open:
        return make_verdict(case, [*findings, *waiting.GONE], None)
    return verdict


def _judge_notification(case: Case, message: Message) -> Verdict:
    message = case.state.with_open_id(case.direction, message)
    reasons = case.state.admit_notification(case.direction, message, case.now)
    if reasons is not None:
        return make_verdict(case, reasons, None)
    findings = find_in_message(case, message)
    if message.method == methods.TASK_STATUS and case.inspects:
        # It may have the result of its task, as the answer to `tasks/get` has.
        task = PendingRequest("", "tasks/get", None, case.now)
        reviewed = contents.review(case, task, message.params)
        case.pins = reviewed.pins
        findings += reviewed.findings
    verdict = settle(case, message, findings)
    if verdict.forward is None and message.method in methods.ESSENTIAL:
        bare = rewritten(message, methods.without_free_text(message.value))
        is_clean = not find_in_message(case, bare)
        return verdict._replace(forward=bare.frame) if is_clean else verdict
    if message.method == methods.TASK_STATUS:
        _record_input_requests(case, message.params, verdict)
    return verdict


# --- answers ----------------------------------------------------------------------------


def _judge_answer(case: Case, message: Message) -> Verdict:
    if not case.is_closed:
        look.find_call(case, message.id_token)
    request = case.request
    if request is None:
        why = "an answer to no open request was dropped"
        findings = [] if case.is_late else [make_block("protocol.unknown-answer", why)]
        return make_verdict(case, findings, None)
    if request.is_own:  # the server never sees the answer
        return make_verdict(case, [], None)._replace(question=request.id_token)
    try:
        if case.is_plain:  # an ordinary result
            verdict = settle(case, message, find_in_message(case, message))
            record_result(case, request, case.frame)
            return verdict
        message = with_id(message, request.id_token)
        answers.check_answer(message.value, request.id_token)
        return _restore(case, _judge_expected_answer(case, message, request))
    except Refusal as refusal:
        raise refuse.RefusedAnswer(request, refusal) from None


def _judge_expected_answer(case: Case, message: Message, request: PendingRequest) -> Verdict:
    result = message.value.get("result")
    if isinstance(result, dict):
        if answers.creates_task(result):
            case.state.outlive(case.direction, request)
        if case.direction is TO_CLIENT and request.method in places.OPENINGS:
            case.state.server_described(request.method, result)
    if case.inspects:
        verdict = _judge_contents(case, message, request)
    else:
        verdict = settle(case, message, find_in_message(case, message))
    _record_input_requests(case, result, verdict)
    return verdict


def _judge_contents(case: Case, message: Message, request: PendingRequest) -> Verdict:
    """Review the definitions in an answer, judge the rest, and remember it."""
    honest = replies.without_forgery(message.value)
    if honest is not message.value:
        message = rewritten(message, honest)
        why = "a mark that only PipeGuard sets was removed"
        case.extra = (make_warning("protocol.forged-mark", why),)
    result = honest.get("result")
    if case.direction is TO_CLIENT and isinstance(result, dict):
        reviewed = contents.review(case, request, result)
        case.pins = reviewed.pins
        case.keeps_bytes = reviewed.keeps_bytes
        if reviewed.stopped:
            findings = [*case.extra, *reviewed.findings]
            case.extra = ()
            return settle(case, message, findings)
        case.extra += reviewed.findings
        if reviewed.result is not result:
            value: JsonObject = {**message.value, "result": reviewed.result}
            message = rewritten(message, value)
    verdict = _settle_explained(case, message, request)
    if request.tool is not None or request.method in READING:  # even if it was blocked
        record_result(case, request, message.frame)
    return verdict


def _settle_explained(case: Case, message: Message, request: PendingRequest) -> Verdict:
    """Settle an answer; one that failed comes with PipeGuard's words on the reason."""
    note = None
    is_failed = request.tool is not None or message.kind is MessageKind.ERROR
    if case.obstacles is not None and is_failed:
        note = case.obstacles.explain_failure(
            message.value, request.tool or "", case.event, request.since, case.now
        )
    if note is None:
        return settle(case, message, find_in_message(case, message))
    explained = rewritten(message, replies.add_note(message.value, note.text))
    verdict = settle(case, explained, find_in_message(case, explained))
    if verdict.action is not Action.BLOCK:
        is_private = have_private(verdict.findings)  # and so may a path be
        case.extra += tuple(
            finding._replace(excerpt="", path="") if is_private else finding
            for finding in note.findings
        )
    return verdict


def _record_input_requests(case: Case, body: JsonValue, verdict: Verdict) -> None:
    """Record the input that a server asks for, if that reached the client."""
    if not isinstance(body, dict) or body.keys().isdisjoint({"inputRequests", "requestState"}):
        return
    if case.direction is TO_CLIENT and verdict.action is not Action.BLOCK:
        case.state.input_requests.record(body)
