"""Checks only the order of messages; others judge their contents."""

from __future__ import annotations

from pipeguard.firewall.finding import Direction, Finding, MessageKind, Verdict
from pipeguard.firewall.protocol.answers import NOTABLE, is_ordinary
from pipeguard.firewall.protocol.framing import KnownResult
from pipeguard.firewall.protocol.message import Message, parse, with_id
from pipeguard.firewall.protocol.pending import PendingRequest, pending_request
from pipeguard.firewall.protocol.strict_json import ParsedFrame
from pipeguard.firewall.session.guard import Context
from pipeguard.firewall.session.judge import CALL, FrameJudge


class ProtocolJudge(FrameJudge):
    """Judges one frame only by the protocol; finds nothing in texts and pins nothing."""

    def pass_at_once(self) -> Verdict | None:
        """The verdict on an ordinary call or result whose value is known; else None.

        Raises:
            Refusal: the frame is not a message, or the call may not be sent now.
        """
        if isinstance(self.frame, KnownResult) and self.direction is Direction.TO_CLIENT:
            return self._pass_result(self.frame.id_token)
        message = parse(self.frame) if isinstance(self.frame, ParsedFrame) else None
        if not isinstance(message, Message) or message.frame is not self.frame:
            return None
        if self.direction is Direction.TO_SERVER:
            return self._pass_call(message)
        token = message.id_token or ""
        is_plain = is_ordinary(message.value) and with_id(message, token) is message
        return self._pass_result(token) if is_plain else None

    def _pass_call(self, message: Message) -> Verdict | None:
        params = message.value.get("params")
        if message.kind is not MessageKind.REQUEST or message.method != CALL:
            return None
        if not isinstance(params, dict) or not NOTABLE.isdisjoint(params):
            return None
        if not NOTABLE.isdisjoint(message.value):
            return None
        self.request = pending_request(message, self.now)
        verdict = self._verdict([], self.frame)
        self.state.send_call(self.request)
        return verdict

    def _pass_result(self, id_token: str) -> Verdict | None:
        self.kind = MessageKind.RESULT
        return None if self._find_call(id_token) is None else self._verdict([], self.frame)

    def _mask(self, message: Message) -> Message:
        return message

    def _restore(self, verdict: Verdict) -> Verdict:
        return verdict

    def _request_findings(self, request: PendingRequest) -> list[Finding]:
        return [*self._find_oddities(self.message)]

    def _record_call(
        self, request: PendingRequest, verdict: Verdict, *, is_granted: bool = False
    ) -> None:
        pass

    def _findings(self, context: Context, message: Message) -> list[Finding]:
        return [*self._find_oddities(message)]

    def _judge_expected_answer(self, request: PendingRequest) -> Verdict:
        result = self.message.value.get("result")
        if isinstance(result, dict):
            self._note_answer(request, result)
        verdict = self._settle([*self._find_oddities(self.message)])
        self._record_input_requests(result, verdict)
        return verdict
