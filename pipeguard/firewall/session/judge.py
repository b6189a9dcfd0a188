"""From one message to its verdict: what is found in it, what goes on, what goes back."""

from __future__ import annotations

from functools import partial

from pipeguard.errors import Refusal
from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.finding import (
    Action,
    Direction,
    Finding,
    MessageKind,
    Verdict,
    greatest,
    make_block,
    make_drop,
    make_warning,
    method_is_secret,
    name_is_secret,
    tells_private,
    worst,
    worst_first,
)
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.answers import check_answer, creates_task
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue
from pipeguard.firewall.protocol.message import Message, rewritten, with_id
from pipeguard.firewall.protocol.methods import (
    ESSENTIAL,
    TASK_STATUS,
    check_method,
    without_free_text,
)
from pipeguard.firewall.protocol.pending import NO_CALL, PendingRequest, Targets, pending_request
from pipeguard.firewall.protocol.places import LISTS, OPENINGS, PARTS
from pipeguard.firewall.session import admission, replies, rewrite
from pipeguard.firewall.session.definitions import ReviewedResult, review
from pipeguard.firewall.session.guard import AnswerNote, Context, Guard
from pipeguard.firewall.session.lifecycle import ConversationState, WaitingRoom
from pipeguard.firewall.session.refusals import RefusedAnswer, Refuser, end_wait, name_wait
from pipeguard.firewall.session.remedies import GRANTED_AS, Way, find_remedy
from pipeguard.records import NamedTuple

LITTLE_LEFT = "without it more than half of the result would be gone, so all of it was withheld"
_NOTHING_LEFT = "what remained after the cut could not pass either"
MAX_REDACTIONS = 3  # rounds; a message that still has something to redact is blocked
TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT
READING = frozenset({"resources/read", "tasks/result"})  # as tools do


class MessageJudge(NamedTuple):
    """Judges one message.

    Attributes:
        guard: what is known of the server.
        state: of the conversation.
        direction: which way the message travels.
        now: seconds on the session's clock.
        event: names the verdict.
        budgets: what judging may still cost; those of a batch are of all its members.
        is_member: True for a message of a batch.
        waiting_room: where a call may wait until a person decides; None if it may not.
        waiting_call: that is judged again, having waited until a person decided; else None.
    """

    guard: Guard
    state: ConversationState
    direction: Direction
    now: float
    event: str
    budgets: Budgets
    is_member: bool = False
    waiting_room: WaitingRoom | None = None
    waiting_call: PendingRequest | None = None

    def judge(self, message: Message) -> Verdict:
        """The verdict on a message.

        Raises:
            Refusal: it breaks the protocol, or could not be judged.
        """
        if self.direction is TO_SERVER:
            return self._judge_kind(message)
        clean, finding = self.guard.detector.mask_own(self.guard.policy, message)
        verdict = self._judge_kind(clean)
        return verdict if finding is None else verdict.with_findings(message.frame, [finding])

    def _judge_kind(self, message: Message) -> Verdict:
        if message.method is not None:
            check_method(message)
        if message.kind is MessageKind.REQUEST:
            return self._judge_request(message)
        if message.kind is MessageKind.NOTIFICATION:
            return self._restore(self._judge_notification(message))
        return self._judge_answer(message)

    # --- requests and notifications -----------------------------------------------------

    def _judge_request(self, message: Message) -> Verdict:
        verdict: Verdict | None = None
        request, early = self.waiting_call, None
        waited = "" if request is None else request.held_event
        if request is None:
            request = pending_request(message, self.now)
            early = self.state.admit(self.direction, message, request)
        try:
            findings = self._request_findings(message, request)
            findings += [] if early is None else [early]
            is_granted = False
            if greatest(findings) >= Action.ASK:
                if request.tool is not None:  # a call that names none can be granted to nobody
                    findings, is_granted = self._use_grant(message, request.tool, findings)
                held = self._hold(message, request, findings)
                if held is not None:
                    return name_wait(held, waited)
                seconds = self.now - request.since
                if waited and greatest(findings) is Action.ASK:
                    request.wait_outcome = f"Nobody allowed it within {seconds:.0f} s."
                why = f"nobody allowed it within {seconds:.0f} s while it waited"
                findings = end_wait(findings, why, waited)
            verdict = self._restore(self._settle(message, request, findings))
            if verdict.forward is not None:
                if waited:
                    request.since = self.now
                self._record_request(message, request, verdict, is_granted=is_granted)
                params = message.value.get("params")
                # Last: nothing may fail once it counts as sent.
                if not self.state.request_sent(self.direction, request, params) and waited:
                    verdict = self._verdict(message, request, [*findings, *_GONE], None)
        finally:
            went_on = bool(verdict and verdict.forward)
            self.guard.detector.settle_call(self.event, went_on=went_on)
            if not request.forwarded:
                self.state.drop(self.direction, request)
        return name_wait(verdict, waited)

    def _restore(self, verdict: Verdict) -> Verdict:
        """Put back what was masked for the client, before anything is taken as sent."""
        return self.guard.detector.restore(verdict) if self.direction is TO_SERVER else verdict

    def _record_request(
        self, message: Message, request: PendingRequest, verdict: Verdict, *, is_granted: bool
    ) -> None:
        """Remember a call of the client; a server's would pass for the client's own words."""
        if request.tool is None or self.direction is TO_CLIENT:
            return
        call, found = (self.guard, request.tool, message.frame), verdict.findings
        self.guard.detector.record_request(*call, found, is_granted=is_granted)
        if self.guard.notes is not None:
            self.guard.notes.add_caller(self.event.partition(".c")[0])

    def _request_findings(self, message: Message, request: PendingRequest) -> list[Finding]:
        detector, call = self.guard.detector, NO_CALL
        findings, values = list[Finding](), frozenset[str]()
        if self.direction is TO_SERVER:
            params = message.value.get("params")
            call = detector.name_targets(request.method, request.tool, params, request.frame_bytes)
            findings = admission.obstacles(self.guard, message)
        if request.tool is not None:
            values = detector.extract_values(message)
        context = self._context(message, request, call=call)
        findings += self._findings(context, message)
        findings += detector.find_leaks(context, message, values)
        if request.tool is not None and self.direction is TO_SERVER:
            findings += admission.find_asked(context, request.tool)
        if findings and any(tells_private(finding.rule) for finding in findings):
            call.forget()  # a name may hold the secret, which is written down nowhere
            findings = [f._replace(path="", host="") for f in findings]
            request.is_method_secret = method_is_secret(findings)
            request.is_tool_secret = name_is_secret(findings)
            if request.is_tool_secret:
                findings = [admission.without_name(self.guard, finding) for finding in findings]
        if call is not NO_CALL or request.tool is not None:
            request.call, request.call_values = call, values
        return findings

    def _use_grant(
        self, message: Message, tool: str, findings: list[Finding]
    ) -> tuple[list[Finding], bool]:
        """The findings of a stopped call: marked, or allowed where a person granted it.

        Neither in a batch, nor where the call would be changed.
        """
        stopped = [f for f in findings if f.action >= Action.ASK]
        others = [f for f in findings if f not in stopped]
        is_changed = any(f.action in (Action.REDACT, Action.CUT) for f in findings)
        is_final = any(find_remedy(f.rule).way is not Way.EXCEPTION for f in stopped)
        if self.is_member or is_changed or is_final:
            return findings, False
        mark = self.guard.mark_call(tool, message.value.get("params"), stopped)
        event = self.guard.grants.take(mark) if mark and self.guard.grants is not None else ""
        if event:
            note = f"{GRANTED_AS}{event}"
            return [f._replace(action=Action.ALLOW, note=note) for f in stopped] + others, True
        is_private = any(tells_private(finding.rule) for finding in findings)
        shown, new = ("", "")
        if not is_private:
            shown, new = self.guard.detector.show_call(self.guard, tool, message, findings)
        marked = [f._replace(call=mark, arguments=shown, differs=new) for f in stopped]
        return marked + others, False

    def _hold(
        self, message: Message, request: PendingRequest, findings: list[Finding]
    ) -> Verdict | None:
        """Let a call wait until a person decides; None if it does not wait."""
        is_call = self.direction is TO_SERVER  # where `Session.decide` looks
        if not is_call or self.waiting_room is None or greatest(findings) is not Action.ASK:
            return None
        mark, *others = {f.call for f in findings if f.action is Action.ASK}
        if others or not mark:
            return None
        event = request.held_event if mark == request.held_mark else self.event
        waits = self._verdict(message, request, findings, None)  # before it counts as waiting
        held = waits._replace(event=event)
        if not self.state.hold(self.direction, request, event, self.guard.policy):
            return None
        request.held_mark = mark
        if self.waiting_call is not None or self.waiting_room.admit(request):
            return held
        if self.state.release(self.direction, request):
            return None
        return self._verdict(message, request, [*findings, *_GONE], None)

    def _judge_notification(self, message: Message) -> Verdict:
        expected = self.state.with_open_id(self.direction, message)
        if expected is not message:
            return self._judge_notification(expected).with_findings(message.frame, ())
        reasons = self.state.admit_notification(self.direction, message, self.now)
        if reasons is not None:
            return self._verdict(message, None, reasons, None)
        verdict = self._settle(message, None, self._findings(self._context(message), message))
        if verdict.forward is None and message.method in ESSENTIAL:
            bare = rewritten(message, without_free_text(message.value))
            is_clean = not self._findings(self._context(bare), bare)
            return verdict._replace(forward=bare.frame) if is_clean else verdict
        if message.method == TASK_STATUS:
            self._record_input_requests(message.value.get("params"), verdict)
        return verdict

    # --- answers ------------------------------------------------------------------------

    def _judge_answer(self, message: Message) -> Verdict:
        request, is_late = self.state.close(self.direction, message.id_token, self.now)
        if request is None:
            why = "an answer to no open request was dropped"
            findings = [] if is_late else [make_block("protocol.unknown-answer", why)]
            return self._verdict(message, None, findings, None)
        if request.take_answer is not None:  # PipeGuard asked; the server never sees the answer
            request.take_answer(message.value.get("result"))
            return self._verdict(message, request, [], None)
        expected = with_id(message, request.id_token)
        try:
            check_answer(expected.value, request.id_token)
            verdict = self._restore(self._judge_expected_answer(expected, request))
            return verdict if expected is message else verdict.with_findings(message.frame, ())
        except Refusal as refusal:
            raise RefusedAnswer(request, refusal) from None
        except Exception:
            self.state.reopen(self.direction, request)  # closed by the refusal of this answer
            raise

    def _judge_expected_answer(self, original: Message, request: PendingRequest) -> Verdict:
        message, extra = original, list[Finding]()
        if replies.is_forged(original.value):
            message = rewritten(original, replies.without_forgery(original.value))
            why = "a mark that only PipeGuard sets was removed"
            extra.append(make_warning("protocol.forged-mark", why))
        result = message.value.get("result")
        if isinstance(result, dict):
            self._note_answer(request, result)
        reviewed = self._review(request, result)
        if reviewed is not None:
            extra += reviewed.findings
            if reviewed.stopped:
                return self._settle(original, request, extra)
            if reviewed.result is not result:
                message = rewritten(message, {**message.value, "result": reviewed.result})
        said, note = message, self._explain(message, request)
        message = rewritten(message, replies.add_note(message.value, note[0])) if note else message
        context = self._context(message, request)
        verdict = self._settle(message, request, self._findings(context, message))
        extra += _note_findings(note, verdict)
        if request.tool is not None or request.method in READING:  # also if it was blocked
            self.guard.detector.record_result(self.guard, request, said.frame, self.now)
        self._record_input_requests(result, verdict)
        pins = () if reviewed is None else reviewed.pins
        if extra or pins or note:
            return verdict.with_findings(original.frame, extra, pins)
        return verdict

    def _explain(self, message: Message, request: PendingRequest) -> AnswerNote | None:
        """Explain an answer of the server that failed, before it is judged."""
        notes = self.guard.notes if self.direction is TO_CLIENT else None
        if notes is None or (request.tool is None and message.kind is not MessageKind.ERROR):
            return None
        tool, since = request.tool or "", request.since
        return notes.explain_failure(message.value, tool, self.event, since, self.now)

    def _review(self, request: PendingRequest, result: JsonValue) -> ReviewedResult | None:
        """Review the definitions that a server sent; None if the result has none."""
        if self.direction is TO_SERVER or not isinstance(result, dict):
            return None
        if request.method not in OPENINGS and request.method not in LISTS:
            return None
        return review(self.guard, request.method, result, self.now, self.budgets)

    def _note_answer(self, request: PendingRequest, result: JsonObject) -> None:
        """Remember what a result says of its server, or of a task that outlives it."""
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

    # --- from findings to a verdict -----------------------------------------------------

    def _context(
        self,
        message: Message,
        request: PendingRequest | None = None,
        call: Targets | None = None,
    ) -> Context:
        method, tool = (request.method, request.tool) if request else (message.method, None)
        if call is None:
            call = NO_CALL if request is None or request.call is None else request.call
        place = self.guard, PARTS[message.kind], method, self.now, tool, ()
        return Context(*place, self.budgets, call, None, self.event)

    def _findings(self, context: Context, message: Message) -> list[Finding]:
        odd = admission.find_oddities(self.direction, message, self.state.input_requests)
        return [*odd, *self.guard.detector.read_message(context, self.direction, message)]

    def _settle(
        self, message: Message, request: PendingRequest | None, findings: list[Finding]
    ) -> Verdict:
        """From findings to what goes on and what goes back."""
        action = greatest(findings) if findings else Action.ALLOW
        if action in (Action.REDACT, Action.CUT):
            return self._redact(message, request, findings)
        if action is not Action.BLOCK:
            return self._verdict(message, request, findings, message.frame)
        code = codes.APPROVAL if worst(findings).rule.startswith("trust.") else codes.BLOCKED
        return self._block(message, request, findings, code)

    def _block(
        self,
        message: Message,
        request: PendingRequest | None,
        findings: list[Finding],
        code: int,
    ) -> Verdict:
        """A request is answered to its sender; an answer is replaced; a notification is dropped."""
        if request is None:
            return self._verdict(message, None, findings, None)
        is_answer = message.kind in (MessageKind.RESULT, MessageKind.ERROR)
        refuser = Refuser(self.state, self.direction, self.event, self.now)
        answer = refuser.answer(request, code, findings, replaces_answer=is_answer)
        if is_answer:
            return self._verdict(message, request, findings, answer)
        return self._verdict(message, request, findings, None)._replace(reply=answer)

    def _redact(
        self, original: Message, request: PendingRequest | None, findings: list[Finding]
    ) -> Verdict:
        """Rewrite the message without what was found, and judge it again."""
        detector = self.guard.detector
        make_placeholder = detector.make_placeholder if self.direction is TO_CLIENT else None
        make_line = partial(rewrite.cut_line, event=self.event, sign=detector.sign)
        message, remaining, is_cut = original, findings, False
        for _ in range(MAX_REDACTIONS):
            private = (f for f in remaining if f.action is Action.REDACT)
            if any(finding.pointer in rewrite.NEVER_REDACTED for finding in private):
                break
            is_cut = is_cut or greatest(remaining) is Action.CUT
            redacted = rewrite.redact(message.value, remaining, make_placeholder, make_line)
            marked = replies.mark_changed(redacted, self.direction, self.event, is_cut=is_cut)
            message = rewritten(message, marked)
            context = self._context(message, request)._replace(original=original.value)
            remaining = self._findings(context, message)
            if greatest(remaining) < Action.REDACT:
                is_order = rewrite.has_orders(findings)
                if is_order and not rewrite.leaves_enough(original.value, message.value):
                    findings = rewrite.withheld(findings, LITTLE_LEFT)
                    return self._block(original, request, findings, codes.BLOCKED)
                return self._verdict(original, request, findings, message.frame)
            if greatest(remaining) is Action.BLOCK:
                break
            findings = [*findings, *rewrite.later_cuts(remaining, message.value, original.value)]
        if is_cut:
            findings = rewrite.withheld(findings, _NOTHING_LEFT)
            return self._block(original, request, findings, codes.BLOCKED)
        failed = make_block("protocol.not-redacted", "it could not be redacted")
        return self._block(original, request, [*findings, failed], codes.BLOCKED)

    def _verdict(
        self,
        message: Message,
        request: PendingRequest | None,
        findings: list[Finding],
        forward: bytes | None,
    ) -> Verdict:
        """The verdict on a message, its most serious finding first."""
        method, tool = request.record_names if request else (message.method, None)
        action = Action.ALLOW
        if findings:
            if request is not None and request.is_tool_secret:
                findings = [finding._replace(tool=None) for finding in findings]
            findings = worst_first(findings)
            action = findings[0].action
            method = None if method_is_secret(findings) else method
            tool = None if name_is_secret(findings) else tool
        answered = None if message.kind is MessageKind.REQUEST else request
        return Verdict(
            self.direction,
            message.frame,
            action,
            forward,
            None,
            tuple(findings),
            self.event,
            message.kind,
            method,
            tool,
            request_bytes=None if answered is None else answered.frame_bytes,
            answer_seconds=None if answered is None else self.now - answered.since,
        )


_GONE = make_drop(
    "protocol.unknown-request", "the call was cancelled, or answered, as it was judged"
)


def _note_findings(note: AnswerNote | None, verdict: Verdict) -> list[Finding]:
    """The findings of a note, if the answer passes; without a path that may hold a secret."""
    if note is None or verdict.action is Action.BLOCK:
        return []
    if any(tells_private(finding.rule) for finding in verdict.findings):
        return [finding._replace(excerpt="", path="") for finding in note[1]]
    return list(note[1])


# --- protocol judge ---------------------------------------------------------------------
# Judges only how messages follow each other, where others judge what they say.


class ProtocolJudge(MessageJudge):
    """Judges one message by the protocol alone; finds nothing in texts and pins nothing."""

    __slots__ = ()

    def judge(self, message: Message) -> Verdict:
        """The verdict on a message.

        Raises:
            Refusal: it breaks the protocol.
        """
        return self._judge_kind(message)

    def _restore(self, verdict: Verdict) -> Verdict:
        return verdict

    def _request_findings(self, message: Message, request: PendingRequest) -> list[Finding]:
        return self._oddities(message)

    def _record_request(
        self, message: Message, request: PendingRequest, verdict: Verdict, *, is_granted: bool
    ) -> None:
        pass

    def _findings(self, context: Context, message: Message) -> list[Finding]:
        return self._oddities(message)

    def _judge_expected_answer(self, original: Message, request: PendingRequest) -> Verdict:
        result = original.value.get("result")
        if isinstance(result, dict):
            self._note_answer(request, result)
        verdict = self._settle(original, request, self._findings(self._context(original), original))
        self._record_input_requests(result, verdict)
        return verdict

    def _oddities(self, message: Message) -> list[Finding]:
        return [*admission.find_oddities(self.direction, message, self.state.input_requests)]
