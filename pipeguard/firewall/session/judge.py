"""One frame on its way: its findings, the frame to forward, the reply.

For most calls and results one look is enough (`FrameJudge.pass_at_once`). Other frames are parsed,
once, and judged in full; the results of the look are used again.
"""

from __future__ import annotations

from pipeguard.errors import Refusal
from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.finding import (
    Action,
    Direction,
    Finding,
    MessageKind,
    PinChange,
    Verdict,
    greatest,
    make_block,
    make_drop,
    make_warning,
    method_is_secret,
    name_is_secret,
    tells_private,
    worst_first,
)
from pipeguard.firewall.policy import Policy
from pipeguard.firewall.protocol import codes, methods
from pipeguard.firewall.protocol.answers import check_answer, creates_task
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue
from pipeguard.firewall.protocol.message import (
    Message,
    PlainOutline,
    envelope,
    parse,
    rewritten,
    with_id,
)
from pipeguard.firewall.protocol.pending import NO_CALL, PendingRequest, pending_request
from pipeguard.firewall.protocol.places import LISTS, OPENINGS
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session import admission, replies
from pipeguard.firewall.session.definitions import ReviewedResult, review
from pipeguard.firewall.session.guard import AnswerNote
from pipeguard.firewall.session.lifecycle import WaitingRoom
from pipeguard.firewall.session.refusals import RefusedAnswer, end_wait, name_wait
from pipeguard.firewall.session.remedies import GRANTED_AS, Way, find_way
from pipeguard.firewall.session.settling import SettledFrame

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
CALL = "tools/call"
TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT
READING = frozenset({"resources/read", "tasks/result"})  # as tools do


class FrameJudge(SettledFrame):
    """Judges one frame; holds all that is known of it.

    Attributes:
        policy: by which all of the message is judged.
        is_member: True for a message of a batch.
        waiting_room: holds a call until a person decides; None if it may not wait.
        waiting_call: a call judged again after waiting for a person's decision, or None.
        is_closed: True once `request` was looked up for an answer.
        is_late: True if an answer without a request was expected nevertheless.
        extra: findings that do not decide about the rest of the message.
        removed: findings about text that was removed from the frame, or put back into it, before
            it was judged.
        pins: definitions to remember.
    """

    policy: Policy
    waiting_room: WaitingRoom | None = None
    waiting_call: PendingRequest | None = None
    is_member = is_closed = is_late = False
    extra: tuple[Finding, ...] = ()
    removed: tuple[Finding, ...] = ()
    pins: tuple[PinChange, ...] = ()

    # --- one look -----------------------------------------------------------------------

    def pass_at_once(self) -> Verdict | None:
        """The verdict on a call or a result if one look sees nothing in it; else None.

        Raises:
            Refusal: the call may not be sent now.
        """
        outline = self.guard.detector.outline(self.direction, self.frame)
        if outline is None:
            return None
        look = self._look_at_call if self.direction is TO_SERVER else self._look_at_result
        return look(outline)

    def _look_at_call(self, outline: PlainOutline) -> Verdict | None:
        tool, detector, size = outline.tool or "", self.guard.detector, len(self.frame)
        pin = self.guard.pin("tool", tool)
        if pin is None or pin.held_definition is not None:
            return None
        self.policy = policy = self.guard.policy
        if policy.find_refusal(tool) or policy.asks_user(tool):
            return None
        request = PendingRequest(outline.id_token, CALL, tool, self.now, outline.progress_token)
        request.frame_bytes, request.call_values = size, outline.values
        request.call = detector.name_targets(CALL, tool, self.frame, size)
        self.outline, self.request = outline, request
        self.sees_nothing = detector.sees_nothing(self.frame, outline, request.call)
        if not self.sees_nothing or detector.may_leak(self.guard, outline):
            return None
        verdict = self._verdict([], self.frame)
        self.state.send_call(request)
        try:
            self._record_call(request, verdict)
        except Exception as error:
            if self.state.drop(TO_SERVER, request):
                raise
            why = f"judging it failed ({type(error).__name__})"  # and the server has answered it
            raise Refusal("protocol.internal", why, codes.INTERNAL) from None
        return verdict

    def _look_at_result(self, outline: PlainOutline) -> Verdict | None:
        self.kind, request = MessageKind.RESULT, self._find_call(outline.id_token)
        if request is None or self.guard.shared.notes is not None:
            return None
        if not self.guard.detector.sees_nothing(self.frame, outline, request.call or NO_CALL):
            self.outline = outline
            return None
        self.guard.detector.record_result(self.guard, request, self.frame, self.now)
        return self._verdict([], self.frame)

    def _find_call(self, id_token: str | None) -> PendingRequest | None:
        """Close the request that an answer belongs to; return it if it is a call with this id."""
        request, self.is_late = self.state.close(self.direction, id_token, self.now)
        self.request, self.is_closed = request, True
        if request is None or request.tool is None or request.take_answer is not None:
            return None
        return request if request.id_token == id_token else None

    def refuse(self, refusal: Refusal) -> Verdict:
        """The verdict on a refused frame; each request in it is answered once."""
        if self.is_closed and self.request is not None and not isinstance(refusal, RefusedAnswer):
            self.state.reopen(self.direction, self.request)  # closed by the refusal of this answer
        return super().refuse(refusal)

    # --- one message --------------------------------------------------------------------

    def read(self) -> Message | list[JsonValue]:
        """Parse the frame; a batch as its members.

        Raises:
            Refusal: it is not a message that every parser reads alike.
        """
        if self.is_member:
            return envelope(self.frame, parse_json(self.frame))
        if self.outline is None or self.kind is MessageKind.RESULT:
            self.policy = self.guard.policy
        self.guard, self.budgets = self.guard.snapshot(self.policy), Budgets()
        if self.frame.startswith(BYTE_ORDER_MARK) and self.event.endswith(".s1"):
            why = "a byte order mark was removed"
            self.removed = (make_warning("protocol.byte-order-mark", why),)
            return parse(self.frame[len(BYTE_ORDER_MARK) :])
        return parse(self.frame)

    def judge(self, message: Message) -> Verdict:
        """The verdict on a message.

        Raises:
            Refusal: it breaks the protocol, or could not be judged.
        """
        self.message, self.kind = self._mask(message), message.kind
        if message.method is not None and self.outline is None:
            methods.check_method(message)
        if message.kind is MessageKind.REQUEST:
            verdict = self._judge_request()
        elif message.kind is MessageKind.NOTIFICATION:
            verdict = self._restore(self._judge_notification())
        else:
            verdict = self._judge_answer()
        if self.extra or self.removed or self.pins:
            return verdict.with_findings(self.frame, (*self.extra, *self.removed), self.pins)
        return verdict

    def _mask(self, message: Message) -> Message:
        """A message of the server without PipeGuard's own secrets, or a call with its passages."""
        if self.direction is TO_SERVER:
            changed, finding = self.guard.detector.put_back(self.guard, message)
        elif self.outline is None:
            changed, finding = self.guard.detector.mask_own(self.guard.policy, message)
        else:
            return message
        if finding is not None:
            self.removed = (finding, *self.removed)
        return changed

    def _restore(self, verdict: Verdict) -> Verdict:
        """Restore text that was masked for the client, before anything is recorded as sent."""
        return self.guard.detector.restore(verdict) if self.direction is TO_SERVER else verdict

    # --- requests and notifications -----------------------------------------------------

    def _judge_request(self) -> Verdict:
        waiting, early, went_on = self.waiting_call, None, False
        request = self.request = waiting or self.request or pending_request(self.message, self.now)
        waited = "" if waiting is None else waiting.held_event
        if waiting is None:
            early = self.state.admit(self.direction, self.message, request)
        try:
            findings = self._request_findings(request)
            findings += [] if early is None else [early]
            is_granted = False
            if greatest(findings) >= Action.ASK:
                if request.tool is not None:  # a call without a tool's name cannot be granted
                    findings, is_granted = self._use_grant(request.tool, findings)
                held = self._hold(request, findings)
                if held is not None:
                    return name_wait(held, waited)
                seconds = self.now - request.since
                if waited and greatest(findings) is Action.ASK:
                    request.wait_outcome = f"Nobody allowed it within {seconds:.0f} s."
                why = f"nobody allowed it within {seconds:.0f} s while it waited"
                findings = end_wait(findings, why, waited)
            verdict = self._restore(self._settle(findings))
            if verdict.forward is not None:
                if waited:
                    request.since = self.now
                self._record_call(request, verdict, is_granted=is_granted)
                params = self.message.value.get("params")
                # Last: nothing may fail once it counts as sent.
                if not self.state.request_sent(self.direction, request, params) and waited:
                    verdict = self._verdict([*findings, *_GONE], None)
                went_on = verdict.forward is not None
        finally:
            self.guard.detector.settle_call(self.event, went_on=went_on)
            if not request.forwarded:
                self.state.drop(self.direction, request)
        return name_wait(verdict, waited)

    def _record_call(
        self, request: PendingRequest, verdict: Verdict, *, is_granted: bool = False
    ) -> None:
        """Remember a call of the client; a server's would pass for the client's own words."""
        tool, guard = request.tool, self.guard
        if tool is None or self.direction is TO_CLIENT:
            return
        found = verdict.findings
        guard.detector.record_request(guard, tool, self.frame, found, is_granted=is_granted)
        if guard.shared.notes is not None:
            guard.shared.notes.add_caller(self.event.partition(".c")[0])

    def _request_findings(self, request: PendingRequest) -> list[Finding]:
        detector, message, asked = self.guard.detector, self.message, list[Finding]()
        is_sent = self.direction is TO_SERVER and self.outline is None
        findings = list[Finding]()
        if is_sent:
            params, size = message.value.get("params"), request.frame_bytes
            request.call = detector.name_targets(request.method, request.tool, params, size)
            findings = admission.obstacles(self.guard, message)
        context = self._context()
        if self.outline is None and request.tool is not None:
            request.call_values = detector.extract_values(message)
            asked = admission.find_asked(context, request.tool) if is_sent else asked
        findings += self._findings(context, message)
        findings += detector.find_leaks(context, message)
        findings += asked
        if findings and any(tells_private(finding.rule) for finding in findings):
            context.call.forget()  # a name may hold the secret, which is written down nowhere
            findings = [f._replace(path="", host="") for f in findings]
            if any(f.rule.startswith("secrets.") for f in findings):  # the passage may hold it, too
                flows = [f._replace(excerpt="") for f in findings if f.rule.startswith("flows.")]
                findings = [f for f in findings if not f.rule.startswith("flows.")] + flows
            request.is_method_secret = method_is_secret(findings)
            request.is_tool_secret = name_is_secret(findings)
            if request.is_tool_secret:
                findings = [admission.without_name(self.guard, finding) for finding in findings]
        return findings

    def _use_grant(self, tool: str, findings: list[Finding]) -> tuple[list[Finding], bool]:
        """The findings of a stopped call: marked, or allowed if a person granted it.

        Neither in a batch, nor if the call would be changed.
        """
        guard, message = self.guard, self.message
        stopped = [f for f in worst_first(findings) if f.action >= Action.ASK]
        others = [f for f in findings if f.action < Action.ASK]
        is_changed = any(f.action in (Action.REDACT, Action.CUT) for f in findings)
        is_final = any(find_way(f.rule) is not Way.EXCEPTION for f in stopped)
        if not (self.is_member or is_changed or is_final):
            mark = guard.mark_call(tool, message.value.get("params"), stopped)
            grants = guard.shared.grants
            event = grants.take(mark) if mark and grants is not None else ""
            if event:
                note = f"{GRANTED_AS}{event}"
                return [f._replace(action=Action.ALLOW, note=note) for f in stopped] + others, True
            stopped = [f._replace(call=mark) for f in stopped]
        if self.direction is TO_SERVER:
            shown = guard.detector.show(guard, tool, message, findings)
            stopped[0] = stopped[0]._replace(**shown)
        return stopped + others, False

    def _hold(self, request: PendingRequest, findings: list[Finding]) -> Verdict | None:
        """Let a call wait until a person decides; None if it does not wait."""
        is_call = self.direction is TO_SERVER  # where `Session.decide` looks
        if not is_call or self.waiting_room is None or greatest(findings) is not Action.ASK:
            return None
        mark, *others = {f.call for f in findings if f.action is Action.ASK}
        if others or not mark:
            return None
        event = request.held_event if mark == request.held_mark else self.event
        held = self._verdict(findings, None)._replace(event=event)  # before it counts as waiting
        if not self.state.hold(self.direction, request, event, self.policy):
            return None
        request.held_mark = mark
        if self.waiting_call is not None or self.waiting_room.admit(request):
            return held
        if self.state.release(self.direction, request):
            return None
        return self._verdict([*findings, *_GONE], None)

    def _judge_notification(self) -> Verdict:
        self.message = message = self.state.with_open_id(self.direction, self.message)
        reasons = self.state.admit_notification(self.direction, message, self.now)
        if reasons is not None:
            return self._verdict(reasons, None)
        verdict = self._settle(self._findings(self._context(), message))
        if verdict.forward is None and message.method in methods.ESSENTIAL:
            bare = rewritten(message, methods.without_free_text(message.value))
            is_clean = not self._findings(self._context(), bare)
            return verdict._replace(forward=bare.frame) if is_clean else verdict
        if message.method == methods.TASK_STATUS:
            self._record_input_requests(message.value.get("params"), verdict)
        return verdict

    # --- answers ------------------------------------------------------------------------

    def _judge_answer(self) -> Verdict:
        if not self.is_closed:
            self._find_call(self.message.id_token)
        request = self.request
        if request is None:
            why = "an answer to no open request was dropped"
            findings = [] if self.is_late else [make_block("protocol.unknown-answer", why)]
            return self._verdict(findings, None)
        if request.take_answer is not None:  # PipeGuard asked; the server never sees the answer
            request.take_answer(self.message.value.get("result"))
            return self._verdict([], None)
        try:
            if self.outline is not None:  # an ordinary result
                verdict = self._settle(self._findings(self._context(), self.message))
                self.guard.detector.record_result(self.guard, request, self.frame, self.now)
                return verdict
            self.message = with_id(self.message, request.id_token)
            check_answer(self.message.value, request.id_token)
            return self._restore(self._judge_expected_answer(request))
        except Refusal as refusal:
            raise RefusedAnswer(request, refusal) from None

    def _judge_expected_answer(self, request: PendingRequest) -> Verdict:
        honest = replies.without_forgery(self.message.value)
        if honest is not self.message.value:
            self.message = rewritten(self.message, honest)
            why = "a mark that only PipeGuard sets was removed"
            self.extra = (make_warning("protocol.forged-mark", why),)
        result = self.message.value.get("result")
        if isinstance(result, dict):
            self._note_answer(request, result)
        reviewed = self._review(request, result)
        if reviewed is not None:
            self.extra += reviewed.findings
            if reviewed.stopped:
                findings, self.extra = [*self.extra], ()
                return self._settle(findings)
            self.pins = reviewed.pins
            if reviewed.result is not result:
                value: JsonObject = {**self.message.value, "result": reviewed.result}
                self.message = rewritten(self.message, value)
        said, note = self.message, self._explain(request)
        if note is not None:
            self.message = rewritten(said, replies.add_note(said.value, note[0]))
        verdict = self._settle(self._findings(self._context(), self.message))
        self.extra += _note_findings(note, verdict)
        if request.tool is not None or request.method in READING:  # even if it was blocked
            self.guard.detector.record_result(self.guard, request, said.frame, self.now)
        self._record_input_requests(result, verdict)
        return verdict

    def _explain(self, request: PendingRequest) -> AnswerNote | None:
        """Explain an answer of the server that failed, before it is judged."""
        notes = self.guard.shared.notes if self.direction is TO_CLIENT else None
        if notes is None or (request.tool is None and self.kind is not MessageKind.ERROR):
            return None
        tool, since = request.tool or "", request.since
        return notes.explain_failure(self.message.value, tool, self.event, since, self.now)

    def _review(self, request: PendingRequest, result: JsonValue) -> ReviewedResult | None:
        """Review the definitions that a server sent; None if the result has none."""
        if self.direction is TO_SERVER or not isinstance(result, dict):
            return None
        if request.method not in OPENINGS and request.method not in LISTS:
            return None
        return review(self.guard, request.method, result, self.now, self.budgets)

    def _note_answer(self, request: PendingRequest, result: JsonObject) -> None:
        """Remember a server's description of itself, or a task that outlives the request."""
        if creates_task(result):
            self.state.outlive(self.direction, request)
        if self.direction is TO_CLIENT and request.method in OPENINGS:
            self.state.server_described(request.method, result)

    def _record_input_requests(self, body: JsonValue, verdict: Verdict) -> None:
        """Record the input that a server asks for, if that reached the client."""
        if not isinstance(body, dict) or body.keys().isdisjoint({"inputRequests", "requestState"}):
            return
        if self.direction is TO_CLIENT and verdict.action is not Action.BLOCK:
            self.state.input_requests.record(body)


_GONE = make_drop(
    "protocol.unknown-request", "the call was cancelled, or answered, as it was judged"
)


def _note_findings(note: AnswerNote | None, verdict: Verdict) -> tuple[Finding, ...]:
    """The findings of a note, if the answer passes; without a path that may hold a secret."""
    if note is None or verdict.action is Action.BLOCK:
        return ()
    if any(tells_private(finding.rule) for finding in verdict.findings):
        return tuple(finding._replace(excerpt="", path="") for finding in note[1])
    return note[1]
