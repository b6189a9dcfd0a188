"""Events that a Session takes: each is a value with its time, and a list of them can be replayed.

Each knows what follows from it in a Session. More of them: `own_frames`, after which PipeGuard
sends frames of its own, and `decisions`, about calls that wait for a person. A time is in seconds
on a clock that only goes forward; it is compared, never shown.
"""

from pipeguard.errors import Refusal
from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.finding import (
    NOTHING,
    TO_CLIENT,
    TO_SERVER,
    Direction,
    MessageKind,
    Verdict,
)
from pipeguard.firewall.pins.store import PinsByKey
from pipeguard.firewall.policy import Policy
from pipeguard.firewall.protocol import codes, framing, pending
from pipeguard.firewall.session.guard import Obstacles
from pipeguard.firewall.session.memory import Note
from pipeguard.firewall.session.refuse import answer_request, refuse
from pipeguard.firewall.session.session import Session
from pipeguard.records import NamedTuple

CALL = "tools/call"


class Frame(NamedTuple):
    """A frame that arrived.

    Attributes:
        direction: which way it travels.
        frame: one JSON-RPC message, without the framing of its transport.
        now: when it arrived.
        is_aside: True in any thread but the one that brings the frames of this direction: for
            frames that may take long.
        obstacles: of a server's frame, those that the server has met; None for most servers.
        budgets: raise TooLongError, if other frames wait for this one; else None. Then only an
            ordinary result is judged, and the verdict on anything else is unfinished.
    """

    direction: Direction
    frame: bytes
    now: float
    is_aside: bool = False
    obstacles: Obstacles | None = None
    budgets: Budgets | None = None

    def happen(self, session: Session) -> Verdict:
        """Judge it."""
        case = session.make_case(self.direction, self.frame, self.now)
        case.obstacles, case.budgets = self.obstacles, self.budgets
        return session.judge_aside(case) if self.is_aside else session.judge_case(case)


class HiddenTool(NamedTuple):
    """A client called a tool that is hidden from it.

    Attributes:
        frame: the client's.
        id_token: of the call, as it is written in the frame; None if it has none.
        now: when.
    """

    frame: bytes
    id_token: str | None
    now: float

    def happen(self, session: Session) -> Verdict:
        """Refuse it as a call of a tool that the policy blocks."""
        case = session.make_case(TO_SERVER, self.frame, self.now)
        why = "there is no tool of this name"
        verdict = refuse(case, Refusal("policy.tool", why, codes.BLOCKED, self.id_token))
        if self.id_token is None or (verdict.reply or b"[").startswith(b"["):
            return verdict
        call = pending.PendingRequest(self.id_token, CALL, None, self.now)
        findings = [*verdict.findings]
        reply = answer_request(case, call, codes.BLOCKED, findings)
        return verdict._replace(reply=reply, kind=MessageKind.REQUEST, method=CALL)


class PinsChanged(NamedTuple):
    """The store has these pins of the server now."""

    pins: PinsByKey
    now: float

    def happen(self, session: Session) -> Verdict:
        """Adopt them; the verdict has the kinds that changed."""
        return NOTHING._replace(kinds=session.guard.repin(self.pins))


class PolicyChanged(NamedTuple):
    """A policy replaces the one before."""

    policy: Policy
    now: float

    def happen(self, session: Session) -> Verdict:
        """Adopt it; the verdict has the kinds that changed."""
        return NOTHING._replace(kinds=session.guard.adopt(self.policy))


class Learned(NamedTuple):
    """Another ledger of the client has put a note."""

    note: Note
    now: float

    def happen(self, session: Session) -> Verdict:
        """Remember it."""
        session.guard.detector.ledger.learn(self.note, self.now)
        return NOTHING


class OwnQuestion(NamedTuple):
    """A request of PipeGuard's own to the client.

    A server can neither guess its id nor use it while it is open.
    """

    question: bytes
    now: float

    def happen(self, session: Session) -> Verdict:
        """Judge it only by the protocol: it is forwarded if the client declared that it answers."""
        case = session.make_case(TO_CLIENT, self.question, self.now)
        case.inspects = False
        verdict = session.judge_case(case)
        if verdict.forward is not None:
            session.state.make_own(framing.legible_id(self.question))
        return verdict._replace(reply=None)
