"""One conversation, which is one JSON-RPC id space: every frame in, one verdict out.

`Session.receive` is the one function that decides. It does not raise; the same frames at the same
times give the same verdicts. It does no I/O and does not wait, with one exception: a tool call that
would be stopped is looked up among the grants of a person (`guard.Grants`).

Threads, for this package and all its callers:

- For each direction one thread at a time calls `receive`: the engines of a Guard belong to it, and
  `load_all` of a Guard comes before it. Any other thread calls `receive_concurrently`, any
  number of them at once: each call has engines of its own. All else (`fork`, `leave`, `withdraw`,
  `abandon`, `expire`, `relist`, `waiting`, and `adopt`, `part`, `repin`, `learn` of a Guard) may be
  called by any thread at any time.
- The state of a conversation (`lifecycle.ConversationState`) changes under the one lock of the
  conversation, which its exchanges and `receive_concurrently` share.
- Each fact about a server has one owner, shared by all its Guards, with a lock of its own:
  `firewall.pins.store`, `detect.flows.ledger`, `detect.flows.vault` and
  `firewall.protocol.answers`. The policy is a value that is replaced as a whole. Their answers
  never change afterwards.
- No lock is held while a text is read, judged or searched, nor while another lock is acquired.
  Without a lock only a single attribute or a single entry of a mapping is read.
- Verdicts are written down by a thread of its own (`state.recorder`).

tests/soak/test_threads.py does all of this at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from copy import copy
from functools import partial

from pipeguard.errors import Refusal
from pipeguard.firewall.finding import (
    Action,
    Direction,
    Finding,
    MessageKind,
    Verdict,
    greatest,
    make_block,
)
from pipeguard.firewall.protocol import batch, codes
from pipeguard.firewall.protocol.framing import KnownResult, Lost, legible_id, one_line
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, serialise
from pipeguard.firewall.protocol.message import Message, rewritten
from pipeguard.firewall.protocol.pending import PendingRequest, TakesAnswer, pending_request
from pipeguard.firewall.protocol.places import Surface
from pipeguard.firewall.session import replies
from pipeguard.firewall.session.case import TO_CLIENT, TO_SERVER, Case
from pipeguard.firewall.session.guard import Context, Guard
from pipeguard.firewall.session.judge import BYTE_ORDER_MARK, judge, read
from pipeguard.firewall.session.lifecycle import NEVER_OVERDUE, ConversationState, WaitingRoom
from pipeguard.firewall.session.look import CALL, look
from pipeguard.firewall.session.refuse import answer_request, as_refusal, refuse
from pipeguard.firewall.session.waiting import end_wait

_GONE = "it was cancelled or answered"


class Session:
    """One conversation between a client and a guarded server.

    Attributes:
        guard: policy, pins and detector of the server.
        run: names this run; events are `<run>.c<n>` and `<run>.s<n>`.
        state: the memory of the conversation.
        waiting_room: holds calls until a person decides; None if the transport lets no call wait
            (transports.pump.wait_for_decision).
        waiting_call: a call judged again after a wait, or None.
        keeps_values: True if a large frame of the server keeps its parsed value once it is judged.
    """

    def __init__(self, guard: Guard, run: str) -> None:
        self.guard = guard
        self.run = run
        self.state = ConversationState(guard.policy.limits)
        self.waiting_room: WaitingRoom | None = None
        self.waiting_call: PendingRequest | None = None
        self.keeps_values = False

    def receive(self, direction: Direction, frame: bytes, now: float) -> Verdict:
        """Judge one frame.

        Args:
            direction: which way the frame travels.
            frame: one JSON-RPC message, without the framing of its transport.
            now: seconds on a clock that only goes forward; compared, never shown.

        Returns:
            The verdict (JSON-RPC 2.0, sections 4 and 5). A frame that cannot be judged is refused.
        """
        return self._judge_or_refuse(self._make_case(direction, frame, now))

    def receive_concurrently(self, direction: Direction, frame: bytes, now: float) -> Verdict:
        """Judge as `receive` does, in another thread: for frames that may take long."""
        with self.guard.spare() as guard:
            return self._twin(guard, self.state).receive(direction, frame, now)

    # --- calls that wait for a person; any thread ---------------------------------------

    def is_decided(self, verdict: Verdict) -> bool:
        """True once a call must be judged again: a person decided, or the policy changed.

        Args:
            verdict: the verdict by which it waits.
        """
        request = self.state.find_held(TO_SERVER, verdict.event)
        if request is None or request.held_policy is not self.guard.policy or request.is_refused:
            return True
        mark = next(finding.call for finding in verdict.findings if finding.call)
        grants = self.guard.shared.grants
        return grants is not None and (grants.has(mark) or grants.has_refused(verdict.event))

    def decide(self, verdict: Verdict, now: float, *, is_last: bool) -> Verdict:
        """Judge a call again.

        Args:
            verdict: the verdict by which it waits.
            now: seconds on the session's clock.
            is_last: True to end the wait, with a block unless a person allowed the call.

        Returns:
            The new verdict, by which it may wait again, or the same one if the question to the
            person is unchanged. Without a reply if its client no longer waits: it was cancelled or
            answered.
        """
        request = self.state.find_held(TO_SERVER, verdict.event)
        if request is None:
            return self.end_wait(verdict, now)
        grants, why = self.guard.shared.grants, ""
        if grants is not None and grants.has_refused(verdict.event):
            why = replies.REFUSED_WAIT
        elif request.is_refused:
            why = "the user refused it in the client"
        if why:
            request.wait_outcome = replies.REFUSED
            return self.end_wait(verdict, now, why)
        twin = self._twin(self.guard, self.state)
        twin.waiting_room = None if is_last else self.waiting_room
        twin.waiting_call = request
        decided = twin.receive_concurrently(TO_SERVER, verdict.frame, now)
        if decided.action is Action.ASK:
            return verdict if decided.event == verdict.event else decided
        if decided.forward is not None or self.state.drop(TO_SERVER, request):
            return decided
        return decided._replace(reply=None)

    def end_wait(
        self, verdict: Verdict, now: float, why: str = _GONE, *, answers: bool = True
    ) -> Verdict:
        """Block a call that no person can decide on any more; answer it if its client waits.

        Args:
            verdict: the verdict by which it waits.
            now: seconds on the session's clock.
            why: what happened, for the audit.
            answers: False if another thread answers the client.
        """
        case = self._make_case(TO_SERVER, verdict.frame, now)
        findings = end_wait(verdict.findings, f"{why} while it waited", verdict.event)
        request, reply = self.state.find_held(TO_SERVER, verdict.event), None
        if answers and request is not None and self.state.drop(TO_SERVER, request):
            reply = answer_request(case, request, codes.BLOCKED, findings, replaces_answer=False)
        action, found = Action.BLOCK, tuple(findings)
        return verdict._replace(action=action, findings=found, event=case.event, reply=reply)

    def refuse(self, verdict: Verdict) -> None:
        """End the wait of a call, if it still waits: the user refused it.

        Args:
            verdict: the verdict by which it waits.
        """
        request = self.state.find_held(TO_SERVER, verdict.event)
        if request is not None:
            request.is_refused = True

    def is_awaited(self, verdict: Verdict) -> bool:
        """True while the client waits for the answer to a call that waits or waited."""
        return self.state.find_held(TO_SERVER, verdict.event) is not None

    def ask_in_result(self, verdict: Verdict) -> Verdict:
        """Answer a call that waits with a question to the user, for a client without a handshake.

        Returns:
            The verdict that asks the client, and ends the wait until it repeats the call (MCP
            2026-07-28, basic/patterns/mrtr); the given verdict if the user is not asked.
        """
        request = self.state.find_held(TO_SERVER, verdict.event)
        if self.guard.questions is None or request is None or self.state.peers.handshake:
            return verdict
        event = f"{self.run}.s{self.state.count_frame(TO_CLIENT)}"
        end = partial(self.end_wait, verdict, answers=False)  # its time may be over by now
        result = self.guard.questions().ask(verdict, event, request.since, end)
        if result is None or not self.state.drop(TO_SERVER, request):
            return verdict
        reply = replies.make_result(request.id_token, result)
        return verdict._replace(action=Action.BLOCK, reply=reply)

    def find_wait_start(self, verdict: Verdict, now: float) -> float:
        """The time at which a call began to wait; now if it no longer waits."""
        request = self.state.find_held(TO_SERVER, verdict.event)
        return now if request is None else request.since

    # --- the conversation ---------------------------------------------------------------

    def fork(self) -> Session:
        """Fork the conversation for one exchange: a POST and its answers.

        Its ids need to differ only within the exchange. A frame that the whole receives may answer
        a request of any exchange. Call `leave` when the exchange is over.
        """
        return self._twin(self.guard, self.state.fork())

    def _twin(self, guard: Guard, state: ConversationState) -> Session:
        twin = Session.__new__(type(self))  # a sixth of the time of `copy.copy`
        twin.__dict__ |= self.__dict__ | {"guard": guard, "state": state}
        return twin

    def leave(self) -> None:
        """End the exchange: only the whole may receive the answers that it still waits for."""
        self.state.leave()

    def resume(self, revision: str) -> None:
        """Take a revision as agreed: the opening was not seen here, or did not happen."""
        self.state.resume(revision)

    def waiting(self, *, lasting: bool = True) -> list[str]:
        """The ids of the client's requests that wait, as they are written in their frames.

        Args:
            lasting: with those that may wait for ever.
        """
        return self.state.waiting_ids(frozenset() if lasting else NEVER_OVERDUE)

    def passes_known(self, result: KnownResult) -> bool:
        """True for a result of the server's that passes without being read."""
        return not self.guard.inspects and self.state.find_call(result.id_token) is not None

    def abandon(
        self, direction: Direction = TO_CLIENT, ending: str = "", unsent: Collection[str] = ()
    ) -> list[bytes]:
        """Answer all requests that wait for a side that is gone.

        Args:
            direction: to whom the frames go; the client, unless it is the client that is gone.
            ending: of the server, as `exit code 3`; empty if that is not known.
            unsent: the ids of requests that the server did not take.

        Returns:
            For the client an error for each of its requests in their order, then a cancellation
            of each request of the server's that it has still open.
        """
        waiting, open_requests = self.state.abandon(direction.back)
        who = f"server {self.guard.name}" if direction is TO_CLIENT else "client"
        what = "ended" if ending else "hung up"
        why = f"PipeGuard: the {who} {what} before it answered{ending and f' ({ending})'}"
        frames = [
            replies.own_error(
                request.id_token,
                codes.PEER_GONE,
                why
                + f"; {replies.MAY_HAVE_ACTED}"
                * (request.method == "tools/call" and request.id_token not in unsent),
            )
            for request in waiting
        ]
        return frames + [replies.make_cancellation(request.id_token) for request in open_requests]

    def expire(self, now: float) -> list[bytes]:
        """Answer the client's requests that have waited for longer than the policy allows."""
        timeout_seconds = self.guard.policy.limits.timeout_seconds
        if timeout_seconds is None:
            return []
        overdue = self.state.expire(now, timeout_seconds)
        why = f"PipeGuard: no answer within {timeout_seconds:g} s"
        return [replies.own_error(request.id_token, codes.PEER_SILENT, why) for request in overdue]

    def relist(self, kinds: Iterable[str]) -> list[bytes]:
        """Notifications that tell the client to list again, for the kinds that changed."""
        return self.state.announcements(kinds)

    def tell_audit_loss(self, now: float) -> Verdict:
        """Judge the notice that rows of the audit are lost, as if the server had sent it."""
        return self.receive_concurrently(TO_CLIENT, serialise(replies.audit_loss()), now)

    def ask_client(self, frame: bytes, take_answer: TakesAnswer, now: float) -> Verdict:
        """Judge a request of PipeGuard's own to the client, only by the protocol.

        Args:
            frame: the request. A server can neither guess its id nor use it while it is open.
            take_answer: called with the result, or None, in a thread that must not wait.
            now: seconds on the session's clock.

        Returns:
            The verdict that sends it to the client; it forwards nothing if the client has not
            declared that it answers this.
        """
        case = self._make_case(TO_CLIENT, frame, now)
        case.inspects = False
        verdict = self._judge_or_refuse(case)
        if verdict.forward is not None and (id_token := legible_id(frame)) is not None:
            self.state.make_own(id_token, take_answer)
        return verdict._replace(reply=None)

    def withdraw_question(self, id_token: str, now: float) -> list[bytes]:
        """The cancellation of a request of PipeGuard's own that is still open."""
        is_open = self.state.withdraw_own(id_token, now)
        return [replies.make_cancellation(id_token, "it was decided")] if is_open else []

    # --- one frame ----------------------------------------------------------------------

    def _make_case(self, direction: Direction, frame: bytes, now: float) -> Case:
        side = "c" if direction is TO_SERVER else "s"
        event = f"{self.run}.{side}{self.state.count_frame(direction)}"
        return Case(self.guard, self.state, frame, direction=direction, now=now, event=event)

    def _judge_or_refuse(self, case: Case) -> Verdict:
        """Judge a frame: at once if it is plain."""
        try:
            if self.waiting_call is None and not case.is_member:
                passed = look(case)
                if passed is not None:
                    return passed
            return self._judge(case)
        except Exception as error:  # noqa: BLE001  the only one: a check that breaks must refuse
            why = as_refusal(case.frame, error)
            if isinstance(case.frame, Lost):  # the channel that lost it does not know its receiver
                why.why = why.why.replace("the server", f"the server {self.guard.name}", 1)
        return refuse(case, why)

    def _judge(self, case: Case) -> Verdict:
        parsed = read(case)
        if isinstance(parsed, list):
            return self._judge_batch(case, parsed)
        case.waiting_room, case.waiting_call = self.waiting_room, self.waiting_call
        return judge(case, self._resume(parsed, case))

    def _resume(self, message: Message, case: Case) -> Message:
        """Remove from a repeated call its answer to a question of PipeGuard's."""
        params = message.value.get("params") if case.direction is TO_SERVER else None
        state = params.get("requestState") if isinstance(params, dict) else None
        if self.guard.questions is None or not isinstance(params, dict) or type(state) is not str:
            return message
        if not state.startswith(f"{replies.STATE}{self.run.partition('.')[0]}-"):
            return message
        is_call = message.kind is MessageKind.REQUEST and message.method == CALL
        repeated = self.guard.questions().resume(self.run, params) if is_call else None
        if repeated is None:
            why = "requestState belongs to no call that waits"
            raise Refusal("protocol.unasked-answer", why, codes.INVALID_REQUEST, message.id_token)
        bare = rewritten(message, {**message.value, "params": repeated.params})
        request = pending_request(bare, case.now)
        repeated.resume(request)
        self.state.admit(TO_SERVER, bare, request)
        if self.waiting_room is not None:
            self.waiting_room.admit(request)
        case.frame, case.waiting_call = bare.frame, request
        return bare

    def _judge_batch(self, case: Case, members: list[JsonValue]) -> Verdict:
        """Judge each member by itself (MCP 2025-03-26, basic/index, "Batching")."""
        batch.check(members, self.state.peers.revision)
        verdicts = []
        frames = [serialise(member) for member in members]  # before any of them is judged
        for index, frame in enumerate(frames):
            alone = copy(case)  # with the guard and the budgets of the batch
            alone.frame = frame
            alone.event = f"{case.event}.{index}"
            alone.is_member = True
            alone.removed = ()
            verdicts.append(self._judge_or_refuse(alone))
        text = case.frame.removeprefix(BYTE_ORDER_MARK)
        try:
            line = one_line(text, text.decode("utf-8"))
            verdict = batch.together(case.direction, line, verdicts, case.event)
        except Exception:
            sent = [v.frame for v in verdicts if v.kind is MessageKind.REQUEST and v.forward]
            self.state.withdraw_sent(case.direction, map(legible_id, sent))  # the refusal answers
            raise
        return verdict.with_findings(case.frame, case.removed)


# --- client headers ---------------------------------------------------------------------
# Judges the HTTP headers of a client by the rules for arguments.


def judge_headers(
    guard: Guard, headers: Sequence[tuple[str, str]], now: float, event: str
) -> tuple[frozenset[str], Verdict]:
    """Judge the headers of one request (RFC 9110, section 5).

    Args:
        guard: whose rules and policy apply.
        headers: names and values, in UTF-8; a name may occur more than once.
        now: seconds on the session's clock.
        event: names the verdict.

    Returns:
        The names, in lower case, of the headers not to forward, and the verdict on all.
    """
    given: JsonObject = {}
    for name, value in headers:
        values = given.setdefault(name.lower(), [])
        if isinstance(values, list):
            values.append(value)
    try:
        findings = _findings(guard, given, now)
        stopped = _stopped_names(guard, given, now) if _stop(findings) else frozenset[str]()
    except Refusal as refusal:  # headers that cannot be judged are not forwarded
        findings, stopped = [make_block(refusal.rule, refusal.why)], frozenset(given)
    action, found = greatest(findings), tuple(findings)
    return stopped, Verdict(TO_SERVER, serialise(given), action, None, None, found, event)


def _stopped_names(guard: Guard, given: JsonObject, now: float) -> frozenset[str]:
    names = {name for name in given if _stop(_findings(guard, {name: given[name]}, now))}
    rest: dict[str, JsonValue] = {name: given[name] for name in given.keys() - names}
    if names and not _stop(_findings(guard, rest, now)):
        return frozenset(names)
    return frozenset(given)  # the match is split over several headers


def _findings(guard: Guard, given: JsonObject, now: float) -> list[Finding]:
    context = Context(guard, "headers", None, now)
    return guard.detector.read(context, Surface.TO_SERVER, {"headers": given})


def _stop(findings: list[Finding]) -> bool:
    return greatest(findings) >= Action.REDACT
