"""Events about a call that waits for a person, or was stopped.

Each names the verdict by which the call waits or was stopped.
"""

from pipeguard.firewall.finding import (
    TO_SERVER,
    Action,
    Verdict,
)
from pipeguard.firewall.protocol import codes, json_values, pending
from pipeguard.firewall.session import guard, refuse, replies, waiting
from pipeguard.firewall.session.case import Case
from pipeguard.firewall.session.session import Session
from pipeguard.records import NamedTuple

GONE = "it was cancelled or answered"


class Granted(NamedTuple):
    """A person allowed a call, once; whoever took the grant brings it.

    Attributes:
        verdict: that stopped the call.
        now: when.
        grant: the event that the person allowed.
    """

    verdict: Verdict
    now: float
    grant: str

    def happen(self, session: Session) -> Verdict:
        """Judge the call again."""
        verdict, now, grant = self
        request = session.state.find_held(verdict.event)
        event = ""
        if request is None and verdict.action is Action.ASK:
            return WaitEnded(verdict, now, GONE).happen(session)
        if request is None or request.since == now:  # it has not waited
            event = verdict.event
        if request is not None and event:
            session.state.drop(request)
        case = session.make_case(verdict.direction, verdict.frame, now, event)
        case.granted_mark = verdict.mark
        case.grant = grant
        if event or request is None:
            return session.judge_aside(case)
        case.waiting_room = session.waiting_room
        return _judge_again(session, verdict, case, request)


class Repeated(NamedTuple):
    """A client repeats, with an answer, a call that was answered with a question.

    Attributes:
        verdict: that refused the repeated call, because the question was not known.
        now: when.
        call: what is known of it.
    """

    verdict: Verdict
    now: float
    call: guard.RepeatedCall

    def happen(self, session: Session) -> Verdict:
        """Let the call wait again, if nobody has decided, as long as the first one would have."""
        message, held = self.call
        case = session.make_case(TO_SERVER, message.frame, self.now, self.verdict.event)
        request = pending.pending_request(message, self.now)
        request.held_event = held.event
        request.held_mark = held.mark
        request.since = held.since or 0.0
        session.state.admit(TO_SERVER, message, request)
        case.waiting_room = session.waiting_room
        if case.waiting_room is not None:
            case.waiting_room.admit(request)
        case.waiting_call = request
        return session.judge_aside(case)


class Waited(NamedTuple):
    """A look at a call that waits.

    Attributes:
        verdict: that makes the call wait.
        now: when.
        is_last: True to end the wait, with a block unless it may pass now.
    """

    verdict: Verdict
    now: float
    is_last: bool = False

    def happen(self, session: Session) -> Verdict:
        """End a wait that is over, or judge the call again if the policy changed.

        Returns:
            The new verdict, by which it may wait again, or the same one if it still waits, or
            passed. Without a reply if its client no longer waits: it was cancelled or answered.
        """
        verdict, now, is_last = self
        request = session.state.find_held(verdict.event)
        if request is None:
            return WaitEnded(verdict, now, GONE).happen(session)
        is_same = request.held_policy is session.guard.policy and not is_last
        if is_same or not request.is_held:
            return verdict
        case = session.make_case(TO_SERVER, verdict.frame, now)
        case.waiting_room = None if is_last else session.waiting_room
        return _judge_again(session, verdict, case, request)


class WaitEnded(NamedTuple):
    """Nobody can decide any more about a call that waits, or a person refused it.

    Attributes:
        verdict: that makes the call wait.
        now: when.
        why: what happened, for the audit.
        outcome: for the client, as a sentence; empty if it is not told.
    """

    verdict: Verdict
    now: float
    why: str
    outcome: str = ""

    def happen(self, session: Session) -> Verdict:
        """Block the call; answer it if its client waits."""
        verdict = self.verdict
        case = session.make_case(TO_SERVER, verdict.frame, self.now)
        findings = waiting.end_wait(verdict.findings, f"{self.why} while it waited", verdict.event)
        request = session.state.find_held(verdict.event)
        reply = None
        if request is not None:
            request.wait_outcome = self.outcome
            answer = refuse.answer_request(case, request, codes.BLOCKED, findings)
            reply = answer if session.state.drop(request) else None
        return verdict._replace(
            action=Action.BLOCK, findings=tuple(findings), event=case.event, reply=reply
        )


class AskedInResult(NamedTuple):
    """The client is asked in the result of a call that waits, and repeats the call.

    MCP 2026-07-28, basic/patterns/mrtr.

    Attributes:
        verdict: that makes the call wait.
        now: when.
        result: has the question.
    """

    verdict: Verdict
    now: float
    result: json_values.JsonObject

    def happen(self, session: Session) -> Verdict:
        """Answer the call with the question; the same verdict if it no longer waits."""
        request = session.state.find_held(self.verdict.event)
        if request is None:
            return self.verdict
        reply = replies.make_result(request.id_token, self.result)
        if not session.state.drop(request):
            return self.verdict
        return self.verdict._replace(action=Action.BLOCK, reply=reply)


def _judge_again(
    session: Session, verdict: Verdict, case: Case, request: pending.PendingRequest
) -> Verdict:
    case.waiting_call = request
    decided = session.judge_aside(case)
    if decided.action is Action.ASK:
        return verdict if decided.event == verdict.event else decided
    if decided.forward is not None or session.state.drop(request):
        return decided
    return decided._replace(reply=None)
