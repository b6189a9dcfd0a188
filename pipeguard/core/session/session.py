"""One conversation, that is one JSON-RPC id space: what came, what waits, what is allowed.

`Session.receive` is the one function that decides. It does no I/O, does not wait and does not
raise; the same frames at the same times give the same verdicts.

Which thread may do what, for this package and all that call it:

- `receive` is called by one thread for each direction, or by one for both: the engines of a Guard
  belong to it. `receive_aside` is called by any other thread, and has engines of its own; there,
  one frame waits for the other. All else (`fork`, `leave`, `abandon`, `expire`, `relist`,
  `waiting`, and `adopt`, `part`, `repin`, `learn` of a Guard) may be called by any thread at any
  time.
- What a conversation remembers (`conduct.State`: requests, what was agreed) is changed under the
  one lock of the conversation, which its exchanges and those who judge aside share.
- What is known of a server has one owner each, which all its Guards share and which has a lock of
  its own: `core.pins.store` (and the policy, a value that is replaced whole), `core.flows.ledger`,
  `core.flows.vault`; what results asked is in `core.protocol.input_requests`, likewise. Whoever
  asks gets a value that does not change any more.
- No lock is held while a text is read, judged or searched, nor while another lock is asked for.
  Without a lock only a single attribute or a single entry of a mapping is read.
- Writing down is for one thread of its own (`state.recorder`), to which verdicts are handed over.

tests/soak/test_threads.py does all of this at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy

from pipeguard.core.finding import (
    Action,
    Direction,
    Finding,
    MessageKind,
    PinChange,
    Verdict,
    greatest,
    worst,
)
from pipeguard.core.flows.known_secrets import without_known_secrets
from pipeguard.core.protocol import batch, codes
from pipeguard.core.protocol.framing import one_line
from pipeguard.core.protocol.json_values import JsonObject, JsonValue, serialise
from pipeguard.core.protocol.message import (
    Message,
    answer_is_well_formed,
    envelope,
    parse,
    rewritten,
)
from pipeguard.core.protocol.methods import check_method
from pipeguard.core.protocol.pending import PendingRequest
from pipeguard.core.protocol.places import LISTS, OPENINGS, part_of
from pipeguard.core.protocol.strict_json import parse_json
from pipeguard.core.session import conduct, replies
from pipeguard.core.session.definitions import review
from pipeguard.core.session.findings import said
from pipeguard.core.session.guard import Guard
from pipeguard.core.session.judge import Where, about, leaked
from pipeguard.core.session.redact import NEVER_REDACTED, redact
from pipeguard.core.session.refusals import Teller
from pipeguard.core.session.secret_restore import put_back
from pipeguard.core.session.verdicts import Answered, blocked, failure, noted, verdict_of, with_more
from pipeguard.core.text.budgets import Budgets
from pipeguard.errors import Refusal

BOM = b"\xef\xbb\xbf"
MAX_REDACTIONS = 4  # rounds; what is then still to be redacted is blocked
TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT

_Judge = Callable[[Direction, bytes, float, str], Verdict]


class Session:
    """One conversation between a client and a guarded server.

    Attributes:
        guard: what is known of the server.
        run: names this run; events are `<run>.c<n>` and `<run>.s<n>`.
    """

    def __init__(self, guard: Guard, run: str) -> None:
        self.guard = guard
        self.run = run
        self.state = conduct.ConversationState(guard.policy.limits)
        self._lock = self.state.lock
        self._budgets: Budgets | None = None  # of a batch, shared by its members
        self._count = {TO_SERVER: 0, TO_CLIENT: 0}

    def receive(self, direction: Direction, frame: bytes, now: float) -> Verdict:
        """Judge one frame and say what to do with it.

        Args:
            direction: which way the frame travels.
            frame: one JSON-RPC message, without the framing of its transport.
            now: seconds on a clock that only goes forward; compared, never shown.

        Returns:
            The verdict (JSON-RPC 2.0, sections 4 and 5). What cannot be judged is refused.
        """
        with self._lock:
            self._count[direction] = count = self._count[direction] + 1
        event = f"{self.run}.{'c' if direction is TO_SERVER else 's'}{count}"
        return self._judge_or_refuse(direction, frame, now, event, self._judge)

    def _judge_or_refuse(
        self, direction: Direction, frame: bytes, now: float, event: str, judge: _Judge
    ) -> Verdict:
        try:
            return judge(direction, frame, now, event)
        except Refusal as refusal:
            return self._teller(direction, event).refuse(frame, refusal)
        except Exception as error:  # noqa: BLE001  the only one: a check that breaks must refuse
            return self._teller(direction, event).refuse(frame, failure(frame, error))

    def receive_aside(self, direction: Direction, frame: bytes, now: float) -> Verdict:
        """As `receive`, in a thread that is not one of the two: for frames that take long."""
        with self.guard.aside() as guard:
            session = copy(self)
            session.guard = guard
            return session.receive(direction, frame, now)

    def fork(self) -> Session:
        """The same conversation in one exchange of it, as a POST and what answers it.

        Its ids need differ from those of the same exchange only; what is received by the whole
        may answer a request of any exchange. Call `leave` when the exchange is over.
        """
        exchange = copy(self)
        exchange.state = self.state.fork()
        return exchange

    def resume(self, revision: str) -> None:
        """Take a revision for agreed: the opening was not seen here, or there is none."""
        self.state.resume(revision)

    def waiting(self) -> list[str]:
        """The ids of the client's requests that wait, as they stood in their frames."""
        return self.state.waiting(TO_SERVER)

    def is_due(self, id_token: str) -> bool:
        """True where this exchange waits for an answer that may not take any time."""
        with self._lock:
            return any(request.id_token == id_token for request in self.state.due())

    def leave(self) -> None:
        """The exchange is over: what it still waits for may only come to the whole."""
        self.state.leave()

    @property
    def asked(self) -> bool:
        """True once anything came from the client."""
        return self._count[TO_SERVER] > 0

    def abandon(self, direction: Direction = TO_CLIENT) -> list[bytes]:
        """The server is gone: answer all that waits.

        Args:
            direction: to whom the frames go; the client unless it is the client that is gone.

        Returns:
            For the client an error for each of its requests in their order, then a cancellation
            for each request of the server's that it still has open.
        """
        with self._lock:
            own, other = self.state.pending[direction.back], self.state.pending[direction]
            # What is being judged at this moment has its answer yet to come.
            waiting = [request for request in own.all() if request.forwarded]
            open_requests = [request for request in other.all() if request.forwarded]
            for request in waiting:
                own.drop(request)
            for request in open_requests:
                other.drop(request)
        why = f"PipeGuard: the {'server' if direction is TO_CLIENT else 'client'} is gone"
        frames = [
            replies.error(r.id_token, codes.PEER_GONE, why, {"source": replies.MARK})
            for r in waiting
        ]
        return frames + [replies.cancelled(request.id_token) for request in open_requests]

    def expire(self, now: float) -> list[bytes]:
        """Answer the client's requests that have waited for longer than the policy allows."""
        timeout_seconds = self.guard.policy.limits.timeout_seconds
        if timeout_seconds is None:
            return []
        pending = self.state.pending[TO_SERVER]
        with self._lock:
            overdue = [
                request
                for request in pending.overdue(now, timeout_seconds)
                if request.method not in conduct.NEVER_OVERDUE
            ]
            for request in overdue:
                pending.give_up(request, now)
        why = f"PipeGuard: no answer within {timeout_seconds:g} s"
        return [
            replies.error(r.id_token, codes.PEER_SILENT, why, {"source": replies.MARK})
            for r in overdue
        ]

    def relist(self, kinds: Iterable[str]) -> list[bytes]:
        """Notifications that tell the client to list again, for the kinds that changed."""
        with self._lock:
            return self.state.announcements(kinds)

    # --- one frame --------------------------------------------------------------------

    def _judge(self, direction: Direction, frame: bytes, now: float, event: str) -> Verdict:
        text = frame
        findings: tuple[Finding, ...] = ()
        if direction is TO_CLIENT and frame.startswith(BOM) and event == f"{self.run}.s1":
            text = frame[len(BOM) :]
            findings = (noted("protocol.byte-order-mark", "a byte order mark was taken off"),)
        parsed = parse(text)
        if direction is TO_CLIENT:
            self.state.unread.end()
        if isinstance(parsed, list):
            line = one_line(text, text.decode("utf-8"))
            verdict = self._batch(direction, line, parsed, now, event)
        else:
            verdict = self._message(direction, parsed, now, event)
        return verdict if verdict.frame is frame else with_more(verdict, frame, findings)

    def _message(self, direction: Direction, message: Message, now: float, event: str) -> Verdict:
        clean, taken = without_known_secrets(
            self.guard.known, self.guard.policy, direction, message
        )
        verdict = self._judged(direction, clean, now, event)
        if taken is not None:
            return with_more(verdict, message.frame, [taken])
        if direction is TO_SERVER and verdict.forward is not None and self.guard.vault is not None:
            return put_back(self.guard.vault, verdict)
        return verdict

    def _judged(self, direction: Direction, message: Message, now: float, event: str) -> Verdict:
        if message.method is not None:
            check_method(message)
        if message.kind is MessageKind.REQUEST:
            return self._request(direction, message, now, event)
        if message.kind is MessageKind.NOTIFICATION:
            return self._notification(direction, message, now, event)
        return self._answer(direction, message, now, event)

    def _batch(
        self, direction: Direction, frame: bytes, members: list[JsonValue], now: float, event: str
    ) -> Verdict:
        """Each member is judged alone (MCP 2025-03-26, basic/index, "Batching")."""
        batch.check(members, self.state.known.revision)
        sharing, judge = self._sharing(), self._judge_or_refuse
        verdicts = [
            judge(direction, serialise(member), now, f"{event}.{index}", sharing._judge_member)
            for index, member in enumerate(members)
        ]
        return batch.together(direction, frame, verdicts, event)

    def _sharing(self) -> Session:
        """The same conversation, judging several texts on one budget."""
        sharing = copy(self)
        sharing._budgets = self._budgets or Budgets()
        return sharing

    def _judge_member(self, direction: Direction, frame: bytes, now: float, event: str) -> Verdict:
        return self._message(direction, envelope(frame, parse_json(frame)), now, event)

    # --- requests and notifications -----------------------------------------------------

    def _request(self, direction: Direction, message: Message, now: float, event: str) -> Verdict:
        assert message.method is not None  # noqa: S101  a request has one
        assert message.id_token is not None  # noqa: S101  a request has one
        request = PendingRequest(
            message.id_token,
            message.method,
            conduct.tool_of(message),
            now,
            conduct.progress_token(message),
        )
        with self._lock:
            early = self.state.admit(direction, message, request)
        try:
            findings = conduct.use(self.guard, direction, message)
            findings += self._scan(direction, message, message.method, request.tool, now)
            findings += leaked(self.guard, message, request.tool, now)
            if request.tool is not None:
                self.state.describe(direction, request, about(message))
            if early is not None:
                findings.append(early)
            verdict = self._settle(direction, message, request, findings, event, now)
            if verdict.forward is not None:
                self.state.sent(direction, message, request)
                if request.tool is not None:
                    self.guard.flows.record_request(message.frame)
        finally:
            if not request.forwarded:
                with self._lock:
                    self.state.pending[direction].drop(request)
        return verdict

    def _notification(
        self, direction: Direction, message: Message, now: float, event: str
    ) -> Verdict:
        method = message.method or ""
        with self._lock:
            dropped = self.state.admit_notification(direction, message, now)
        if dropped is not None:
            return verdict_of(direction, message, dropped, event, forward=None)
        findings = self._scan(direction, message, method, None, now)
        verdict = self._settle(direction, message, None, findings, event, now)
        if verdict.forward is None and method in conduct.NEVER_DROPPED:
            emptied = rewritten(message, conduct.without_reason(message.value))
            left = self._scan(direction, emptied, method, None, now)
            return verdict if left else verdict._replace(forward=emptied.frame)
        body = message.value.get("params")
        if method == "notifications/tasks" and isinstance(body, dict):
            self._ask(direction, body, verdict)
        return verdict

    # --- answers ----------------------------------------------------------------------

    def _answer(self, direction: Direction, message: Message, now: float, event: str) -> Verdict:
        asked = self.state.pending[direction.back]
        with self._lock:
            late = asked.was_cancelled(message.id_token, now)
            request = asked.close(message.id_token)
        if request is None:
            if late:
                return verdict_of(direction, message, [], event, forward=None)
            note = "an answer to no open request was dropped"
            return verdict_of(
                direction, message, [blocked("protocol.unknown-answer", note)], event, forward=None
            )
        if not answer_is_well_formed(message.value):
            raise Answered(request, "protocol.malformed-answer", "the answer is not well formed")
        if conduct.has_odd_meta(message.value):
            raise Answered(request, "protocol.meta-not-an-object", "_meta must be an object")
        try:
            return self._judged_answer(direction, message, request, now, event)
        except Refusal as refusal:
            raise Answered(request, refusal.rule, refusal.why, refusal.code) from None
        except Exception:
            with self._lock:
                asked.open(request)  # it waits on: whoever refuses this answer closes it
            raise

    def _judged_answer(
        self,
        direction: Direction,
        message: Message,
        request: PendingRequest,
        now: float,
        event: str,
    ) -> Verdict:
        original, forged = message, list[Finding]()
        if replies.is_forged(message.value):
            message = rewritten(message, replies.without_forgery(message.value))
            forged.append(
                noted("protocol.forged-mark", "a mark that only PipeGuard sets was taken out")
            )
        pins: tuple[PinChange, ...] = ()
        result = message.value.get("result")
        if isinstance(result, dict) and conduct.makes_task(result):
            with self._lock:
                self.state.pending[direction.back].outlive(request)
        if direction is TO_CLIENT and isinstance(result, dict):
            if request.method in OPENINGS:
                self.state.opened(request.method, result)
            if request.method in OPENINGS or request.method in LISTS:
                reviewed = review(self.guard, request.method, result, now, self._budgets)
                pins = reviewed.pins
                forged += reviewed.findings
                if reviewed.stopped:
                    return self._settle(direction, original, request, forged, event, now)
                if reviewed.result is not result:
                    message = rewritten(message, {**message.value, "result": reviewed.result})
        findings = self._scan(direction, message, request.method, request.tool, now)
        verdict = self._settle(direction, message, request, findings, event, now)
        if request.tool is not None:  # also where it was stopped: what is done then is telling
            self.guard.flows.record_result(
                self.guard.tool(request.tool), message.frame, now, request.about
            )
        if isinstance(result, dict) and ("inputRequests" in result or "requestState" in result):
            self._ask(direction, result, verdict)
        return with_more(verdict, original.frame, forged, pins) if forged or pins else verdict

    def _ask(self, direction: Direction, body: JsonObject, verdict: Verdict) -> None:
        """Remember what the client was asked, if that reached it."""
        if direction is TO_CLIENT and verdict.action is not Action.BLOCK:
            self.state.questions.ask(body)

    # --- judging ----------------------------------------------------------------------

    def _scan(
        self,
        direction: Direction,
        message: Message,
        method: str | None,
        tool: str | None,
        now: float,
    ) -> list[Finding]:
        where = Where(self.guard, part_of(message.kind), method, now, tool, (), self._budgets)
        return [*self.state.oddities(direction, message), *said(where, direction, message)]

    def _settle(
        self,
        direction: Direction,
        message: Message,
        request: PendingRequest | None,
        findings: list[Finding],
        event: str,
        now: float,
    ) -> Verdict:
        """From findings to what goes on and what goes back."""
        action = greatest(findings)
        if action is Action.REDACT:
            return self._sharing()._redacted(direction, message, request, findings, event, now)
        if action is not Action.BLOCK:
            return verdict_of(
                direction, message, findings, event, forward=message.frame, request=request
            )
        if request is None:
            return verdict_of(direction, message, findings, event, forward=None)
        code = codes.APPROVAL if worst(findings).rule.startswith("trust.") else codes.BLOCKED
        return self._blocked(direction, message, request, findings, event, code)

    def _blocked(
        self,
        direction: Direction,
        message: Message,
        request: PendingRequest,
        findings: list[Finding],
        event: str,
        code: int,
    ) -> Verdict:
        """A request is answered to its sender; in place of an answer ours goes on."""
        is_answer = message.kind in (MessageKind.RESULT, MessageKind.ERROR)
        answer = self._teller(direction, event).refusal(request, code, findings, answer=is_answer)
        return verdict_of(
            direction,
            message,
            findings,
            event,
            forward=answer if is_answer else None,
            reply=None if is_answer else answer,
            request=request,
        )

    def _redacted(
        self,
        direction: Direction,
        message: Message,
        request: PendingRequest | None,
        findings: list[Finding],
        event: str,
        now: float,
    ) -> Verdict:
        """Write the message once without what was found, and judge it again."""
        told = list(findings)
        original = message
        for _ in range(MAX_REDACTIONS):
            if any(f.action is Action.REDACT and f.pointer in NEVER_REDACTED for f in findings):
                break
            vault = self.guard.vault if direction is TO_CLIENT else None
            holder = vault.placeholder if vault is not None else None
            redacted = redact(message.value, findings, holder)
            message = rewritten(message, replies.marked(redacted, direction, event))
            method = request.method if request else message.method
            tool = request.tool if request else None
            findings = self._scan(direction, message, method, tool, now)
            if greatest(findings) < Action.REDACT:
                return verdict_of(
                    direction, original, told, event, forward=message.frame, request=request
                )
            if greatest(findings) is Action.BLOCK:
                break
        seen = [*told, blocked("protocol.not-redacted", "it could not be redacted")]
        if request is None:
            return verdict_of(direction, original, seen, event, forward=None)
        return self._blocked(direction, original, request, seen, event, codes.BLOCKED)

    def _teller(self, direction: Direction, event: str) -> Teller:
        return Teller(self.state, direction, event)
