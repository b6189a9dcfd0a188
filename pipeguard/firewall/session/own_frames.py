"""Frames of PipeGuard's own to the client, which no frame of a peer causes.

Errors for a server that is gone or silent, cancellations, and notices that lists changed. Each has
a verdict of its own, which is recorded.
"""

from collections.abc import Collection, Iterable

from pipeguard.firewall.finding import (
    NOTHING,
    TO_CLIENT,
    Action,
    Finding,
    MessageKind,
    Severity,
    Verdict,
)
from pipeguard.firewall.protocol import codes, methods, pending
from pipeguard.firewall.session import replies
from pipeguard.firewall.session.session import Session
from pipeguard.records import NamedTuple

RULE = "audit.own-frame"  # of the finding that says why PipeGuard sends a frame
_FINDING = Finding(RULE, "envelope", severity=Severity.INFO, action=Action.ALLOW)


class ServerGone(NamedTuple):
    """The server is gone.

    Attributes:
        now: when.
        ending: as `exit code 3`; empty if it is not known.
        unsent: the ids of requests that the server did not take.
    """

    now: float
    ending: str = ""
    unsent: Collection[str] = ()

    def happen(self, session: Session) -> Verdict:
        """Answer the requests that wait for it, in their order, and cancel its own."""
        of_client, of_server = session.state.list_sent()
        unsent = {*self.unsent, *(each.id_token for each in of_client if each.is_held)}
        ending = f"ended before it answered ({self.ending})"
        what = ending if self.ending else "hung up before it answered"
        why = f"the server {session.guard.name} {what}"
        own = dict[pending.PendingRequest, Verdict]()
        for request in of_client:
            may_have_acted = request.method == "tools/call" and request.id_token not in unsent
            note = f"{why}; {replies.MAY_HAVE_ACTED}" if may_have_acted else why
            own[request] = _make_error(session, request, self.now, codes.PEER_GONE, note)
        for request in of_server:
            own[request] = _cancel(session, request.id_token, "the server hung up")
        return _send(own[request] for request in own if session.state.drop(request))


class Tick(NamedTuple):
    """Time passed."""

    now: float

    def happen(self, session: Session) -> Verdict:
        """Answer the client's requests that have waited for longer than the policy allows."""
        seconds = session.guard.policy.limits.timeout_seconds
        if seconds is None:
            return NOTHING
        why = f"no answer within {seconds:g} s"
        return _send(
            _make_error(session, request, self.now, codes.PEER_SILENT, why)
            for request in session.state.expire(self.now, seconds)
        )


class ListsChanged(NamedTuple):
    """Definitions of some kinds changed."""

    kinds: frozenset[str]
    now: float

    def happen(self, session: Session) -> Verdict:
        """Tell the client to list them again."""
        why = f"definitions changed: {', '.join(sorted(self.kinds))}"
        return _send(
            _make(session, method, frame, why)
            for method, frame in session.state.announcements(self.kinds)
        )


class QuestionClosed(NamedTuple):
    """A request of PipeGuard's own needs no answer any more.

    Attributes:
        id_token: of the request, as it is written in its frame.
        now: when.
    """

    id_token: str
    now: float

    def happen(self, session: Session) -> Verdict:
        """Cancel it, if it is still open."""
        is_open = session.state.withdraw_own(self.id_token, self.now)
        return _send([_cancel(session, self.id_token, "it was decided")] if is_open else [])


def _send(own: Iterable[Verdict]) -> Verdict:
    return NOTHING._replace(own=tuple(own))


def _make_error(
    session: Session, request: pending.PendingRequest, now: float, code: int, why: str
) -> Verdict:
    method, tool = request.record_names
    frame = replies.own_error(request.id_token, code, f"PipeGuard: {why}")
    return _make(session, method, frame, why)._replace(
        kind=MessageKind.ERROR,
        tool=tool,
        request_bytes=request.frame_bytes,
        answer_seconds=now - request.since,
    )


def _cancel(session: Session, id_token: str, why: str) -> Verdict:
    return _make(session, methods.CANCELLED, replies.make_cancellation(id_token, why), why)


def _make(session: Session, method: str | None, frame: bytes, why: str) -> Verdict:
    findings = (_FINDING._replace(note=f"PipeGuard sent it: {why}"),)
    kind = MessageKind.NOTIFICATION
    return Verdict(
        TO_CLIENT, frame, Action.ALLOW, frame, None, findings, session.name_own(), kind, method
    )
