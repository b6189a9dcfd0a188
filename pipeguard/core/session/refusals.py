"""Tells whoever waits that a message did not pass, and what it was. The only module that refuses.

Knows who waits for what, and of the frame no more than could be read of it.
"""

from __future__ import annotations

from typing import NamedTuple

from pipeguard.core.finding import Action, Direction, Finding, Verdict, worst
from pipeguard.core.protocol import batch, codes
from pipeguard.core.protocol.frame_outline import is_request_shaped
from pipeguard.core.protocol.framing import Lost
from pipeguard.core.protocol.pending import PendingRequest
from pipeguard.core.session import replies
from pipeguard.core.session.conduct import ConversationState
from pipeguard.core.session.judge import stands_in_method
from pipeguard.core.session.verdicts import Answered, blocked
from pipeguard.errors import Refusal

TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT


class Teller(NamedTuple):
    """Who is told, of one frame.

    Attributes:
        state: of the conversation; its lock is held while what waits is looked up.
        direction: which way the frame travelled.
        event: names its verdict.
    """

    state: ConversationState
    direction: Direction
    event: str

    def refuse(self, frame: bytes, refusal: Refusal) -> Verdict:
        """The verdict on a frame that does not pass; each request in it is answered once."""
        findings = [blocked(refusal.rule, refusal.why)]
        direction, code = self.direction, refusal.code
        forward = reply = None
        more: list[bytes] = []
        is_astray = False
        request: PendingRequest | None = None
        if isinstance(refusal, Answered):
            request = refusal.request
        elif (many := batch.ids_of(refusal, frame)) is not None:
            # Whoever sends a batch reads one (JSON-RPC 2.0, section 6), whatever was agreed.
            reply = batch.array([self._asked(one, code, findings) for one in many.asked])
            with self.state.lock:
                closed = self.state.pending[direction.back].close_all(many.answered)
            # Alone where it is one, since few read a batch.
            forward = batch.alone(self._withheld(closed, codes.PEER_BROKE_PROTOCOL, findings))
        elif refusal.id_token is not None:
            asks = is_request_shaped(frame)
            if not asks:
                request = self._answered(refusal, is_sure=asks is not None)
            if asks or (asks is None and request is None and direction is TO_SERVER):
                reply = self._asked(refusal.id_token, code, findings)
            if direction is TO_CLIENT:
                self._note(frame)
        elif direction is TO_CLIENT and self._is_astray(frame):
            is_astray = True
            with self.state.lock:
                lost = self.state.lose()
            told = self._withheld(lost, codes.UNSCANNABLE, findings)
            forward, more = next(iter(told), None), told[1:]
        elif direction is TO_SERVER and self.state.may_answer_without_id(refusal.rule):
            reply = replies.error(None, code, f"PipeGuard: {refusal.why}")
        method = tool = None
        if request is not None:
            method, tool = request.method, request.tool
            code = codes.PEER_BROKE_PROTOCOL if code == codes.PARSE_ERROR else code
            sent = not isinstance(frame, Lost) or frame.sent
            forward = self.refusal(request, code, findings, answer=True, executed=sent)
        return Verdict(
            direction,
            frame,
            Action.BLOCK,
            forward,
            reply,
            tuple(findings),
            self.event,
            None,
            method,
            tool,
            more=tuple(more),
            is_astray=is_astray,
        )

    def refusal(
        self,
        request: PendingRequest,
        code: int,
        findings: list[Finding],
        *,
        answer: bool,
        executed: bool = True,
    ) -> bytes:
        """To the side that asked: its request is refused, or an answer to it (`answer`).

        `executed` is False for an answer that ours stands in for, whose request was never sent.
        """
        if self.direction is (TO_CLIENT if answer else TO_SERVER):
            method = None if stands_in_method(findings) else request.method
            return replies.refusal_to_client(
                method,
                request.id_token,
                code,
                worst(findings),
                self.event,
                executed=answer and executed,
                typed=not self.state.known.handshake,
            )
        return replies.refusal_to_server(request.method, request.id_token, code, self.event)

    def _note(self, frame: bytes) -> None:
        with self.state.lock:
            self.state.unread.tell(frame)

    def _is_astray(self, frame: bytes) -> bool:
        with self.state.lock:
            return self.state.unread.take(frame)

    def _asked(self, id_token: str, code: int, findings: list[Finding]) -> bytes:
        """To the sender of a request that could not be read; its id serves for this alone."""
        return self.refusal(PendingRequest(id_token, "", None, 0.0), code, findings, answer=False)

    def _answered(self, refusal: Refusal, *, is_sure: bool) -> PendingRequest | None:
        """The request that waits for the frame; it waits no longer."""
        if not is_sure and refusal.code == codes.PARSE_ERROR and self.direction is TO_CLIENT:
            return None  # half a line, or text: the answer may be yet to come
        with self.state.lock:
            return self.state.pending[self.direction.back].close(refusal.id_token)

    def _withheld(
        self, requests: list[PendingRequest], code: int, findings: list[Finding]
    ) -> list[bytes]:
        return [self.refusal(request, code, findings, answer=True) for request in requests]
