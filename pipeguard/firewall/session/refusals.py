"""Refuses a frame that could not be judged, and answers all peers that wait for it.

It also answers messages that `judge` blocked (`Refuser.answer`). It knows who waits for which
answer, and only as much of the frame as could be read.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from pipeguard.errors import Refusal
from pipeguard.firewall.finding import (
    Action,
    Direction,
    Finding,
    Verdict,
    greatest,
    make_block,
    make_warning,
    method_is_secret,
    worst,
)
from pipeguard.firewall.protocol import batch, codes, framing
from pipeguard.firewall.protocol.message import parse
from pipeguard.firewall.protocol.pending import PendingRequest
from pipeguard.firewall.session import replies
from pipeguard.firewall.session.guard import Guard
from pipeguard.firewall.session.lifecycle import ConversationState
from pipeguard.records import NamedTuple

TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT


class RefusedAnswer(Refusal):
    """An answer that is not forwarded, to a request that no longer waits."""

    def __init__(self, request: PendingRequest, refusal: Refusal) -> None:
        super().__init__(refusal.rule, refusal.why, refusal.code, request.id_token)
        self.request = request


def as_refusal(frame: bytes, error: Exception) -> Refusal:
    """The refusal of a frame: a check's own, or that of a frame on which a check failed.

    For the latter only the id is known, or the ids of a batch.
    """
    if isinstance(error, Refusal):
        return error
    id_token = None
    with suppress(Refusal):
        parsed = parse(frame)
        id_token = framing.legible_id(frame) if isinstance(parsed, list) else parsed.id_token
    why = f"judging it failed ({type(error).__name__})"
    return Refusal("protocol.internal", why, codes.INTERNAL, id_token)


def _may_ask(frame: bytes) -> bool:
    """True for a frame without a legible id that may be a request.

    Of a line over the limit, its last part, unless an earlier one had the id.
    """
    if not isinstance(frame, framing.Oversized):
        return True
    return bool(frame.head and frame.tail) and framing.is_request_shaped(frame) is not False


class Arrival(NamedTuple):
    """One frame that arrived.

    Attributes:
        direction: which way it travels.
        frame: one message.
        now: seconds on the session's clock.
        event: names the verdict on it.
    """

    direction: Direction
    frame: bytes
    now: float
    event: str


class Refuser:
    """Refuses one frame, and answers all peers that wait for it.

    Attributes:
        guard: policy, pins and detector of the server.
        state: of the conversation.
        direction, frame, now, event: as of `Arrival`.
    """

    def __init__(self, guard: Guard, state: ConversationState, arrival: Arrival) -> None:
        self.guard, self.state = guard, state
        self.direction, self.frame, self.now, self.event = arrival

    def refuse(self, refusal: Refusal) -> Verdict:
        """The verdict on a refused frame; each request in it is answered once."""
        is_lost = refusal.code == codes.PEER_GONE  # not a refusal by PipeGuard
        findings = [(make_warning if is_lost else make_block)(refusal.rule, refusal.why)]
        if isinstance(refusal, RefusedAnswer):
            return self._withhold(refusal.request, refusal.code, findings)
        ids = batch.collect_ids(refusal, self.frame)
        if ids is not None:
            return self._refuse_batch(ids, refusal.code, findings)
        if refusal.id_token is not None:
            return self._refuse_identified(refusal, refusal.id_token, findings)
        reply = None
        is_answerable = self.state.may_answer_without_id(refusal.rule) and _may_ask(self.frame)
        if self.direction is TO_SERVER and is_answerable:
            reply = replies.error(None, refusal.code, f"PipeGuard: {refusal.why}")
        return self._blocking(findings, None, reply)

    def answer(
        self,
        request: PendingRequest,
        code: int,
        findings: list[Finding],
        *,
        replaces_answer: bool,
        executed: bool = True,
    ) -> bytes:
        """Answer the sender of a refused request.

        Args:
            request: the request.
            code: of the error, from firewall.protocol.codes.
            findings: the reasons.
            replaces_answer: True if the frame is the answer to the request, False if it is the
                request itself.
            executed: False if the request certainly never reached the server.
        """
        if self.direction is (TO_CLIENT if replaces_answer else TO_SERVER):
            method = None if method_is_secret(findings) else request.method
            return replies.refusal_to_client(
                method,
                request.id_token,
                code,
                finding=worst(findings),
                event=self.event,
                executed=replaces_answer and executed,
                wait_outcome="" if replaces_answer else request.wait_outcome,
                typed=not self.state.peers.handshake,
            )
        return replies.refusal_to_server(request.method, request.id_token, code, self.event)

    def _refuse_batch(self, ids: batch.Ids, code: int, findings: list[Finding]) -> Verdict:
        # A peer that sends a batch reads one (JSON-RPC 2.0, section 6), whatever was agreed.
        reply = batch.array([self._to_sender(token, code, findings) for token in ids.requests])
        closed = self.state.close_all(self.direction, ids.answers)
        # Each answer goes by itself, because few peers read a batch.
        code = codes.PEER_BROKE_PROTOCOL
        answers = [self.answer(each, code, findings, replaces_answer=True) for each in closed]
        forward = answers[0] if len(answers) == 1 else batch.array(answers)
        verdict = self._blocking(findings, forward, reply)
        return verdict._replace(apart=tuple(answers)) if len(answers) > 1 else verdict

    def _refuse_identified(
        self, refusal: Refusal, id_token: str, findings: list[Finding]
    ) -> Verdict:
        """Refuse a frame whose id could be read; it is a request, an answer, or either."""
        asks = framing.is_request_shaped(self.frame)
        request = reply = None
        if not asks and (
            self.direction is TO_SERVER or framing.is_answer(self.frame, refusal, asks=asks)
        ):
            request = next(iter(self.state.close_all(self.direction, [id_token])), None)
        if asks or (asks is None and request is None and self.direction is TO_SERVER):
            reply = self._to_sender(id_token, refusal.code, findings)
        if request is None:
            return self._blocking(findings, None, reply)
        return self._withhold(request, refusal.code, findings)

    def _withhold(self, request: PendingRequest, code: int, findings: list[Finding]) -> Verdict:
        """Replace the answer to a request by ours."""
        if code in (codes.PARSE_ERROR, codes.INVALID_REQUEST):  # the one who asked is not at fault
            code = codes.PEER_BROKE_PROTOCOL
        executed = not isinstance(self.frame, framing.Lost) or self.frame.sent
        forward = self.answer(request, code, findings, replaces_answer=True, executed=executed)
        verdict = self._blocking(findings, forward, None)
        method, tool = request.record_names
        return verdict._replace(
            method=method,
            tool=tool,
            request_bytes=request.frame_bytes,
            answer_seconds=self.now - request.since,
        )

    def _blocking(
        self, findings: list[Finding], forward: bytes | None, reply: bytes | None
    ) -> Verdict:
        action, found = greatest(findings), tuple(findings)
        return Verdict(self.direction, self.frame, action, forward, reply, found, self.event)

    def _to_sender(self, id_token: str, code: int, findings: list[Finding]) -> bytes:
        """The answer to a request that could not be read. Its id is used only for this."""
        request = PendingRequest(id_token, "", None, 0.0)
        return self.answer(request, code, findings, replaces_answer=False)


# --- calls that waited ------------------------------------------------------------------


def end_wait(findings: Iterable[Finding], why: str, waited: str) -> list[Finding]:
    """Turn questions to a person into blocks, with a note on why the wait ended.

    Args:
        findings: of the call.
        why: what happened.
        waited: the event as which it waited; empty if it did not.
    """
    return [
        _add_note(finding, f"{why} as event {waited}" if waited else "")._replace(
            action=Action.BLOCK
        )
        if finding.action is Action.ASK
        else finding
        for finding in findings
    ]


def name_wait(verdict: Verdict, waited: str) -> Verdict:
    """Name the wait that a verdict ends, if no finding does: else it would seem to wait on.

    Args:
        verdict: on a call.
        waited: the event as which it waited; empty if it did not.
    """
    if not verdict.findings or waited in {"", verdict.event}:
        return verdict
    if any(finding.note.endswith(f"event {waited}") for finding in verdict.findings):
        return verdict
    first, *others = verdict.findings
    return verdict._replace(findings=(_add_note(first, f"it waited as event {waited}"), *others))


def _add_note(finding: Finding, note: str) -> Finding:
    return finding._replace(note="; ".join(filter(None, (finding.note, note))))
