"""From findings to a verdict: the frame to forward, and the reply."""

from __future__ import annotations

from functools import partial

from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.finding import (
    Action,
    Direction,
    Finding,
    MessageKind,
    Verdict,
    greatest,
    make_block,
    method_is_secret,
    name_is_secret,
    worst,
    worst_first,
)
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.protocol.message import Message, PlainOutline, rewritten
from pipeguard.firewall.protocol.pending import NO_CALL, PendingRequest
from pipeguard.firewall.protocol.places import PARTS
from pipeguard.firewall.session import admission, replies, rewrite
from pipeguard.firewall.session.guard import Context
from pipeguard.firewall.session.refusals import Refuser

TO_CLIENT = Direction.TO_CLIENT
LITTLE_LEFT = "without it more than half of the result would be gone, so all of it was withheld"
_NOTHING_LEFT = "what remained after the cut could not pass either"
MAX_REDACTIONS = 3  # rounds; a message that still has something to redact is blocked


class SettledFrame(Refuser):
    """One frame with its message, and the verdict on its findings.

    Attributes:
        budgets: the cost that judging may still have; a batch shares one among its members.
        outline: of an ordinary call that policy and pins allow, or of a result; else None.
        sees_nothing: True if the look showed that `Detector.read_message` finds nothing.
        message: the frame, parsed, as it is forwarded if nothing more is found.
        request: the one sent or answered; None for a notification.
    """

    message: Message
    budgets: Budgets
    kind = MessageKind.REQUEST
    outline: PlainOutline | None = None
    request: PendingRequest | None = None
    sees_nothing = False

    def _context(self, original: JsonValue = None) -> Context:
        method, tool, call = self.message.method, None, NO_CALL
        if self.request is not None:
            method, tool = self.request.method, self.request.tool
            call = self.request.call or NO_CALL
        at = self.guard, PARTS[self.kind], method, self.now, tool, ()
        return Context(*at, self.budgets, call, original, self.event)

    def _findings(self, context: Context, message: Message) -> list[Finding]:
        if self.sees_nothing:
            return []
        found = self.guard.detector.read_message(context, self.direction, message)
        return found if self.outline is not None else [*self._find_oddities(message), *found]

    def _find_oddities(self, message: Message) -> tuple[Finding, ...]:
        return admission.find_oddities(self.direction, message, self.state.input_requests)

    def _settle(self, findings: list[Finding]) -> Verdict:
        """Turn findings into the frame to forward and the reply."""
        action = greatest(findings)
        is_call = self.kind is MessageKind.REQUEST and self.request and self.request.tool
        if action > Action.WARN and not is_call:
            findings = self._show_frame(findings)
        if action in (Action.REDACT, Action.CUT):
            return self._redact(findings)
        if action is not Action.BLOCK:
            return self._verdict(findings, self.message.frame)
        code = codes.APPROVAL if worst(findings).rule.startswith("trust.") else codes.BLOCKED
        return self._block(findings, code)

    def _show_frame(self, findings: list[Finding]) -> list[Finding]:
        """The findings, the first stopped secret with the text around it."""
        stopped = [f for f in findings if f.action > Action.WARN and f.rule.startswith("secrets.")]
        if not stopped:
            return findings
        first = worst(stopped)
        rest = (finding for finding in findings if finding is not first)
        shown = self.guard.detector.show(self.guard, None, self.message, [first, *rest])
        return [each._replace(**shown) if each is first else each for each in findings]

    def _block(self, findings: list[Finding], code: int = codes.BLOCKED) -> Verdict:
        """Answer a request to its sender, replace an answer, or drop a notification."""
        verdict = self._verdict(findings, None)
        if self.request is None:
            return verdict
        is_answer = self.kind is not MessageKind.REQUEST
        answer = self.answer(self.request, code, findings, replaces_answer=is_answer)
        return verdict._replace(forward=answer) if is_answer else verdict._replace(reply=answer)

    def _redact(self, findings: list[Finding]) -> Verdict:
        """Rewrite the message without the text of its findings, and judge it again."""
        detector = self.guard.detector
        make_placeholder = detector.make_placeholder if self.direction is TO_CLIENT else None
        make_line = partial(detector.make_line, event=self.event)
        original, message, remaining, is_cut = self.message.value, self.message, findings, False
        self.outline, self.sees_nothing = None, False  # which were of the frame as it came
        for _ in range(MAX_REDACTIONS):
            private = (f for f in remaining if f.action is Action.REDACT)
            if any(finding.pointer in rewrite.NEVER_REDACTED for finding in private):
                break
            is_cut = is_cut or greatest(remaining) is Action.CUT
            redacted = rewrite.redact(message.value, remaining, make_placeholder, make_line)
            marked = replies.mark_changed(redacted, self.direction, self.event, is_cut=is_cut)
            message = rewritten(message, marked)
            remaining = self._findings(self._context(original), message)
            if greatest(remaining) < Action.REDACT:
                if rewrite.has_orders(findings) and not rewrite.leaves_enough(original, marked):
                    return self._block(rewrite.withheld(findings, LITTLE_LEFT))
                return self._verdict(findings, message.frame)
            if greatest(remaining) is Action.BLOCK:
                break
            findings = [*findings, *rewrite.later_cuts(remaining, marked, original)]
        if is_cut:
            return self._block(rewrite.withheld(findings, _NOTHING_LEFT))
        failed = make_block("protocol.not-redacted", "it could not be redacted")
        return self._block([*findings, failed])

    def _verdict(self, findings: list[Finding], forward: bytes | None) -> Verdict:
        """The verdict on a message, its most serious finding first."""
        request, action, seconds = self.request, Action.ALLOW, None
        method, tool = request.record_names if request else (self.message.method, None)
        if findings:
            if request is not None and request.is_tool_secret:
                findings = [finding._replace(tool=None) for finding in findings]
            findings = worst_first(findings)
            action = findings[0].action
            method = None if method_is_secret(findings) else method
            tool = None if name_is_secret(findings) else tool
        size, kind = None, self.kind
        if request is not None and kind is not MessageKind.REQUEST:
            size, seconds = request.frame_bytes, self.now - request.since
        frame, found, event, pins = self.frame, tuple(findings), self.event, ()
        given = self.direction, frame, action, forward, None, found, event, kind, method, tool
        return Verdict(*given, pins, size, seconds)
