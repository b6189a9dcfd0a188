"""From findings to a verdict: the frame to forward, and the reply."""

from functools import partial

from pipeguard.firewall.finding import (
    PARTIAL,
    TO_CLIENT,
    Action,
    Finding,
    MessageKind,
    Verdict,
    blocked_whole,
    greatest,
    make_block,
    method_is_secret,
    name_is_secret,
    worst,
    worst_first,
)
from pipeguard.firewall.protocol import codes, pending
from pipeguard.firewall.protocol.message import Message, rewritten
from pipeguard.firewall.session import find, memory, refuse, replies, rewrite
from pipeguard.firewall.session.case import Case

LITTLE_LEFT = "without it more than half of the result would be gone, so all of it was withheld"
_NOTHING_LEFT = "what remained after the cut could not pass either"
MAX_REDACTIONS = 3  # rounds; a message that still has something to redact is blocked


def settle(case: Case, message: Message, findings: list[Finding]) -> Verdict:
    """Turn findings into the frame to forward and the reply."""
    action = greatest(findings)
    is_call = case.kind is MessageKind.REQUEST and case.request and case.request.tool
    stopped = [f for f in findings if f.action > Action.WARN and f.rule.startswith("secrets.")]
    if stopped and not is_call:  # show the first stopped secret with the text around it
        first = worst(stopped)
        rest = (finding for finding in findings if finding is not first)
        shown = case.guard.detector.show(case.guard, None, message, [first, *rest])
        findings = [each._replace(**shown) if each is first else each for each in findings]
    if action in PARTIAL:
        if case.keeps_bytes:
            return _block(case, [*map(blocked_whole, findings)])  # clients compare the bytes
        return _redact(case, message, findings)
    if action is not Action.BLOCK:
        return make_verdict(case, findings, message.frame)
    return _block(case, findings)


def make_verdict(case: Case, findings: list[Finding], forward: bytes | None) -> Verdict:
    """The verdict on a message, its most serious finding first."""
    request = case.request
    action = Action.ALLOW
    method = case.method
    tool = None
    request_bytes = answer_seconds = None
    if request is not None:
        method, tool = request.record_names
        if case.kind is not MessageKind.REQUEST:
            request_bytes = request.frame_bytes
            answer_seconds = case.now - request.since
    if findings:
        if request is not None and request.is_tool_secret:
            findings = [finding._replace(tool=None) for finding in findings]
        findings = worst_first(findings)
        action = findings[0].action
        method = None if method_is_secret(findings) else method
        tool = None if name_is_secret(findings) else tool
    return Verdict(
        case.direction,
        case.frame,
        action,
        forward,
        None,
        tuple(findings),
        case.event,
        case.kind,
        method,
        tool,
        (),
        request_bytes,
        answer_seconds,
    )


def record_call(case: Case, request: pending.PendingRequest, verdict: Verdict) -> None:
    """Remember a call of the client; a server's would pass for the client's own words."""
    guard = case.guard
    tool = request.tool
    if tool is None or case.direction is TO_CLIENT or not case.inspects:
        return
    call = memory.SentCall(tool, case.frame, verdict.findings, bool(verdict.grant))
    guard.detector.remember(guard, call)


def record_result(case: Case, request: pending.PendingRequest, frame: bytes) -> None:
    """Remember the result of a request, as it would be read: even if it was blocked."""
    case.guard.detector.remember(case.guard, memory.ReturnedResult(request, frame, case.now))


def _block(case: Case, findings: list[Finding]) -> Verdict:
    """Answer a request to its sender, replace an answer, or drop a notification."""
    verdict = make_verdict(case, findings, None)
    if case.request is None:
        return verdict
    code = codes.APPROVAL if worst(findings).rule.startswith("trust.") else codes.BLOCKED
    is_answer = case.kind is not MessageKind.REQUEST
    answer = refuse.answer_request(case, case.request, code, findings, replaces_answer=is_answer)
    return verdict._replace(forward=answer) if is_answer else verdict._replace(reply=answer)


def _redact(case: Case, message: Message, findings: list[Finding]) -> Verdict:
    """Rewrite the message without the text of its findings, and judge it again."""
    replace = rewrite.name_rule
    if case.direction is TO_CLIENT:
        replace = partial(case.guard.detector.replace, event=case.event)
    left = original = message.value
    remaining = findings
    is_cut = False
    case.is_plain = False
    case.sees_nothing = False  # which were of the frame as it came
    for _ in range(MAX_REDACTIONS):
        private = (f.pointer for f in remaining if f.action is Action.REDACT)
        if not rewrite.NEVER_REDACTED.isdisjoint(private):
            break
        is_cut = is_cut or greatest(remaining) is Action.CUT
        left = rewrite.redact(left, remaining, replace)
        remaining = find.find_in_message(case, rewritten(message, left), original)
        if greatest(remaining) < Action.REDACT:
            if rewrite.has_orders(findings) and not rewrite.leaves_enough(original, left):
                return _block(case, rewrite.block_cuts(findings, LITTLE_LEFT))
            # Judged without the mark: it is PipeGuard's, and in no text that a model reads.
            marked = replies.mark_changed(left, case.direction, case.event, is_cut=is_cut)
            return make_verdict(case, findings, rewritten(message, marked).frame)
        if greatest(remaining) is Action.BLOCK:
            break
        findings = [*findings, *rewrite.find_later_cuts(remaining, left, original)]
    if is_cut:
        return _block(case, rewrite.block_cuts(findings, _NOTHING_LEFT))
    failed = make_block("protocol.not-redacted", "it could not be redacted")
    return _block(case, [*findings, failed])
