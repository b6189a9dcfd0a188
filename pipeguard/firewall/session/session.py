"""One conversation, which is one JSON-RPC id space: every event in, one verdict out.

`Session.take` is the one function that decides. It does not raise, does no I/O and does not wait;
the same events give the same verdicts.

Threads, for this package and all its callers:

- `take`, `fork` and `leave` may be called by any thread at any time. For each direction only one
  thread at a time brings frames that are not `is_aside`: the engines of a Guard belong to it, and
  `load_all` of a Guard comes before it. Any other event is judged with engines of its own.
- The state of a conversation (`lifecycle.ConversationState`) changes under the one lock of the
  conversation, which its exchanges and all threads share.
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

from collections.abc import Sequence
from copy import copy
from typing import Protocol

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
from pipeguard.firewall.protocol import batch, codes, framing, pending, places
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, serialise
from pipeguard.firewall.protocol.message import Message, rewritten
from pipeguard.firewall.session import lifecycle, replies
from pipeguard.firewall.session.case import TO_SERVER, Case
from pipeguard.firewall.session.guard import Context, Guard
from pipeguard.firewall.session.judge import BYTE_ORDER_MARK, judge, read
from pipeguard.firewall.session.look import CALL, look
from pipeguard.firewall.session.refuse import as_refusal, refuse


class Event(Protocol):
    """An event of a conversation (`events`, `own_frames`, `decisions`)."""

    def happen(self, session: Session) -> Verdict:
        """Let it happen in the session that takes it."""


class Session:
    """One conversation between a client and a guarded server.

    Attributes:
        guard: policy, pins and detector of the server.
        run: names this run; events are `<run>.c<n>` and `<run>.s<n>`.
        state: the memory of the conversation.
        waiting_room: holds calls until a person decides; None if the transport lets no call wait
            (transports.pump.wait_for_decision).
        keeps_values: True if a large frame of the server keeps its parsed value once it is judged.
    """

    def __init__(
        self,
        guard: Guard,
        run: str,
        revision: str | None = None,
        waiting_room: lifecycle.WaitingRoom | None = None,
    ) -> None:
        """Begin a conversation.

        Args:
            guard: of the server.
            run: the name of the run.
            revision: as agreed, if the opening is not seen here or does not happen; else None.
            waiting_room: for calls that wait.
        """
        self.guard = guard
        self.run = run
        self.state = lifecycle.ConversationState(guard.policy.limits, revision)
        self.waiting_room = waiting_room
        self.keeps_values = False

    def take(self, event: Event) -> Verdict:
        """Take one event and return all that follows from it.

        Returns:
            The verdict (JSON-RPC 2.0, sections 4 and 5). A frame that cannot be judged is refused.
        """
        return event.happen(self)

    # --- the conversation ---------------------------------------------------------------

    def fork(self) -> Session:
        """Fork the conversation for one exchange: a POST and its answers.

        Its ids need to differ only within the exchange. A frame that the whole takes may answer
        a request of any exchange. Call `leave` when the exchange is over.
        """
        twin = Session.__new__(type(self))  # a sixth of the time of `copy.copy`
        twin.__dict__ |= self.__dict__ | {"state": self.state.fork()}
        return twin

    def leave(self, *, is_sent: bool = True) -> None:
        """End the exchange: only the whole may take the answers that it still waits for.

        Args:
            is_sent: False if its requests are not sent after all.
        """
        self.state.leave(is_sent=is_sent)

    def waiting(self, *, lasting: bool = True) -> list[str]:
        """The ids of the client's requests that wait, as they are written in their frames.

        Args:
            lasting: with those that may wait for ever.
        """
        return self.state.waiting_ids(lasting=lasting)

    def passes_known(self, result: framing.KnownResult) -> bool:
        """True for a result of the server's that passes without being read."""
        return not self.guard.inspects and self.state.find_call(result.id_token) is not None

    # --- one frame ----------------------------------------------------------------------

    def judge_aside(self, case: Case) -> Verdict:
        """Judge a frame with engines of its own, in any thread."""
        with self.guard.spare() as case.guard:
            return self.judge_case(case)

    def make_case(self, direction: Direction, frame: bytes, now: float, event: str = "") -> Case:
        """Make a case of a frame, under the name of a new event unless one is given."""
        if not event:
            side = "c" if direction is TO_SERVER else "s"
            event = f"{self.run}.{side}{self.state.count_frame(direction)}"
        return Case(self.guard, self.state, frame, direction=direction, now=now, event=event)

    def judge_case(self, case: Case) -> Verdict:
        """Judge a frame, at once if it is plain; refuse it if a check breaks."""
        try:
            if case.waiting_call is None and not case.is_member:
                passed = look(case)
                if passed is not None:
                    return passed
            return self._judge(case)
        except Exception as error:  # noqa: BLE001  the only one: a check that breaks must refuse
            why = as_refusal(case.frame, error)
            # The channel that lost it does not know its receiver.
            if isinstance(case.frame, framing.Lost):
                why.why = why.why.replace("the server", f"the server {self.guard.name}", 1)
        return refuse(case, why)

    def _judge(self, case: Case) -> Verdict:
        parsed = read(case)
        if isinstance(parsed, list):
            return self._judge_batch(case, parsed)
        if case.waiting_call is None:
            case.waiting_room = self.waiting_room
        return judge(case, self._resume(parsed, case))

    def _resume(self, message: Message, case: Case) -> Message:
        """Remove from a repeated call its answer to a question of PipeGuard's."""
        state = message.params.get("requestState") if case.direction is TO_SERVER else None
        if self.guard.questions is None or type(state) is not str:
            return message
        if not state.startswith(f"{replies.STATE}{self.run.partition('.')[0]}-"):
            return message
        is_call = message.kind is MessageKind.REQUEST and message.method == CALL
        repeated = self.guard.questions().resume(self.run, message.params) if is_call else None
        if repeated is None:
            why = "requestState belongs to no call that waits"
            raise Refusal("protocol.unasked-answer", why, codes.INVALID_REQUEST, message.id_token)
        bare = rewritten(message, {**message.value, "params": repeated.params})
        request = pending.pending_request(bare, case.now)
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
            verdicts.append(self.judge_case(alone))
        text = case.frame.removeprefix(BYTE_ORDER_MARK)
        try:
            line = framing.one_line(text, text.decode("utf-8"))
            verdict = batch.together(case.direction, line, verdicts, case.event)
        except Exception:
            sent = [v.frame for v in verdicts if v.kind is MessageKind.REQUEST and v.forward]
            # The refusal answers them.
            self.state.withdraw_sent(case.direction, map(framing.legible_id, sent))
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
    return guard.detector.read(context, places.Surface.TO_SERVER, {"headers": given})


def _stop(findings: list[Finding]) -> bool:
    return greatest(findings) >= Action.REDACT
