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

from copy import copy
from itertools import count
from typing import Protocol

from pipeguard.errors import Refusal
from pipeguard.firewall.budgets import TooLongError
from pipeguard.firewall.finding import (
    NOTHING,
    TO_CLIENT,
    TO_SERVER,
    Action,
    Direction,
    MessageKind,
    Verdict,
    make_block,
)
from pipeguard.firewall.protocol import batch, codes, framing
from pipeguard.firewall.protocol.json_values import JsonValue, serialise
from pipeguard.firewall.session import lifecycle, replies
from pipeguard.firewall.session.case import Case
from pipeguard.firewall.session.guard import Guard
from pipeguard.firewall.session.judge import BYTE_ORDER_MARK, judge, parse_frame
from pipeguard.firewall.session.look import CALL, look
from pipeguard.firewall.session.refuse import as_refusal, refuse
from pipeguard.records import NamedTuple

_EXCHANGES = count(1)


class Event(Protocol):
    """An event of a conversation (`events`, `own_frames`, `decisions`, `client_headers`)."""

    @property
    def now(self) -> float:
        """The time at which it happens."""

    def happen(self, session: Session) -> Verdict:
        """Let it happen in the session that takes it."""


class SessionTape(Protocol):
    """Takes down all that Sessions of a client take, in its order (state.record.tape)."""

    def take(self, session: Session, event: Event) -> Verdict:
        """Let a session take an event, and take it down."""

    def end(self) -> None:
        """End the record with its conversation."""


class Left(NamedTuple):
    """An exchange ended; `is_sent` as for `Session.leave`."""

    is_sent: bool
    now: float = 0.0

    def happen(self, session: Session) -> Verdict:
        """End it."""
        session.state.leave(is_sent=self.is_sent)
        return NOTHING


class Session:
    """One conversation between a client and a guarded server.

    Attributes:
        guard: policy, pins and detector of the server.
        run: names this run; events are `<run>.c<n>` and `<run>.s<n>`.
        state: the memory of the conversation, which others only read.
        waiting_room: holds calls until a person decides; None if the transport lets no call wait
            (transports.pump.wait_for_decision).
        keeps_values: True if a large frame of the server keeps its parsed value once it is judged.
        tape: of the client, on which its sessions are recorded; None if they are not.
        exchange: the number of the exchange; 0 for the whole conversation.
    """

    tape: SessionTape | None = None
    exchange = 0

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
        try:
            return event.happen(self)
        except Exception as error:  # noqa: BLE001  if a part breaks, nothing passes
            return self._refuse_event(event, error)

    def _refuse_event(self, event: Event, error: Exception) -> Verdict:
        """Refuse what an event is about; answer whoever waits for that.

        Pins and policy stay as they were. A server that is gone answers no request any more.
        """
        stopped: Verdict | None = getattr(event, "verdict", None)
        frame: bytes = getattr(event if stopped is None else stopped, "frame", b"")
        if stopped is not None and stopped.action is Action.ASK:
            request = self.state.find_held(stopped.event)
            refused = refuse(self.make_case(TO_SERVER, frame, event.now), as_refusal(frame, error))
            is_open = request is not None and self.state.drop(request)
            return refused if is_open else refused._replace(reply=None)
        if frame:
            direction = getattr(stopped or event, "direction", TO_SERVER)
            name = "" if stopped is None else stopped.event
            case = self.make_case(direction, frame, event.now, name)
            return refuse(case, as_refusal(frame, error))
        why = f"{type(event).__name__} failed ({type(error).__name__})"
        found = (make_block("protocol.internal", why),)
        failure = Verdict(TO_CLIENT, b"", Action.BLOCK, None, None, found, self.name_own())
        own = [failure]
        if hasattr(event, "unsent"):
            for request in self.state.list_sent()[0]:
                self.state.drop(request)
                frame = replies.own_error(request.id_token, codes.INTERNAL, f"PipeGuard: {why}")
                own.append(failure._replace(frame=frame, forward=frame, event=self.name_own()))
        return NOTHING._replace(own=tuple(own))

    def name_own(self) -> str:
        """The name of the verdict on a frame of PipeGuard's own."""
        return f"{self.run}.p{next(self.state.own_numbers)}"

    # --- the conversation ---------------------------------------------------------------

    def fork(self) -> Session:
        """Fork the conversation for one exchange: a POST and its answers.

        Its ids need to differ only within the exchange. A frame that the whole takes may answer
        a request of any exchange. Call `leave` when the exchange is over.
        """
        twin = Session.__new__(type(self))  # a sixth of the time of `copy.copy`
        twin.__dict__ |= self.__dict__ | {"state": self.state.fork()}
        twin.exchange = next(_EXCHANGES)
        return twin

    def leave(self, *, is_sent: bool = True) -> None:
        """End the exchange: only the whole may take the answers that it still waits for.

        Args:
            is_sent: False if its requests are not sent after all.
        """
        if self.tape is None or self.state.pending[TO_SERVER].is_over:
            self.state.leave(is_sent=is_sent)
        else:
            self.tape.take(self, Left(is_sent))

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
        except TooLongError:
            case.reopen()
            return NOTHING._replace(is_unfinished=True)
        except Exception as error:  # noqa: BLE001  a check that breaks must refuse its frame
            refusal = as_refusal(case.frame, error)
            # The channel that lost it does not know its receiver.
            if isinstance(case.frame, framing.Lost):
                server = f"the server {self.guard.name}"
                refusal.why = refusal.why.replace("the server", server, 1)
        return refuse(case, refusal)

    def _judge(self, case: Case) -> Verdict:
        parsed = parse_frame(case)
        if isinstance(parsed, list):
            return self._judge_batch(case, parsed)
        if case.waiting_call is None:
            case.waiting_room = self.waiting_room
        state = parsed.params.get("requestState") if case.direction is TO_SERVER else None
        own = f"{replies.STATE}{self.run.partition('.')[0]}-"
        if self.guard.questions is None or type(state) is not str or not state.startswith(own):
            return judge(case, parsed)
        why = "requestState belongs to no call that waits"  # or nobody brought it (Repeated)
        refusal = Refusal("protocol.unasked-answer", why, codes.INVALID_REQUEST, parsed.id_token)
        is_call = parsed.kind is MessageKind.REQUEST and parsed.method == CALL
        return refuse(case, refusal)._replace(is_repeated=is_call)

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
            tokens = filter(None, map(framing.legible_id, sent))
            self.state.close_all(case.direction.back, tokens)
            raise
        return verdict.with_findings(case.frame, case.removed)
