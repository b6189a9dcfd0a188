"""Judges only how messages follow each other, where others judge what they say.

For the gateway's side towards its client: each of its servers is behind a Session of its own, which
has judged all text that comes by here. What is checked here is JSON-RPC and the lifecycle: ids,
openings, limits, and answers to requests that are open.
"""

from __future__ import annotations

from pipeguard.firewall.finding import Finding, Verdict
from pipeguard.firewall.protocol.message import Message
from pipeguard.firewall.protocol.pending import PendingRequest
from pipeguard.firewall.session.envelope import oddities
from pipeguard.firewall.session.guard import Context
from pipeguard.firewall.session.judge import MessageJudge


class ProtocolJudge(MessageJudge):
    """Judges one message by the protocol alone; finds nothing in texts and pins nothing."""

    __slots__ = ()

    def judge(self, message: Message) -> Verdict:
        """The verdict on a message.

        Raises:
            Refusal: it breaks the protocol.
        """
        return self._judge_kind(message)

    def _request_findings(self, message: Message, request: PendingRequest) -> list[Finding]:
        return self._oddities(message)

    def _record_request(self, message: Message, request: PendingRequest) -> None:
        pass

    def _findings(self, context: Context, message: Message) -> list[Finding]:
        return self._oddities(message)

    def _judge_expected_answer(self, original: Message, request: PendingRequest) -> Verdict:
        result = original.value.get("result")
        if isinstance(result, dict):
            self._note_answer(request, result)
        verdict = self._settle(original, request, self._findings(self._context(original), original))
        if isinstance(result, dict):
            self._record_input_requests(result, verdict)
        return verdict

    def _oddities(self, message: Message) -> list[Finding]:
        return [*oddities(self.direction, message, self.state.input_requests)]
