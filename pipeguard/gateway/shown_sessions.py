"""Conversations at a server's own endpoint, which shows its tools as the user configured."""

from __future__ import annotations

from collections.abc import Callable

from pipeguard.errors import Refusal
from pipeguard.firewall.finding import Direction, MessageKind, Verdict
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.ids import write_id
from pipeguard.firewall.protocol.json_values import JsonValue, as_object, serialise
from pipeguard.firewall.protocol.pending import PendingRequest
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session.guard import Guard
from pipeguard.firewall.session.session import Session
from pipeguard.gateway.tools import ShownTools
from pipeguard.transports.http.server.sessions import Mirrored, Sessions


class ShownSessions(Sessions):
    """The Sessions of clients at a server's own endpoint.

    Attributes:
        shown: the tools that they see.
    """

    shown = ShownTools()

    def make_session(self, guard: Guard, run: str) -> Session:
        """A Session whose client sees the tools as the user configured."""
        return (
            Session(guard, run)
            if self.shown.is_everything
            else _ShownSession(guard, run, self.shown)
        )

    def mirrored_headers(self, tool: str, who: str = "") -> Mirrored:
        """The headers that repeat a trusted tool's parameters (2026-07-28), with their paths."""
        return super().mirrored_headers(self.shown.own_name(tool) or "", who)


class _ShownSession(Session):
    """A conversation with a server whose tools are renamed or partly hidden.

    Args:
        guard: of the server.
        run: names this run.
        shown: the tools that the client sees.
    """

    def __init__(self, guard: Guard, run: str, shown: ShownTools) -> None:
        super().__init__(guard, run)
        self._shown = shown

    def receive(self, direction: Direction, frame: bytes, now: float) -> Verdict:
        """Judge one frame and return the verdict."""
        if direction is Direction.TO_CLIENT:
            return self._as_shown(super().receive(direction, frame, now))
        if not self._shown.has_names or self.waiting_call is not None:  # which has its own name
            return super().receive(direction, frame, now)
        try:
            own = self._with_own_names(frame)
        except Refusal as refusal:
            return self._refuse(frame, refusal, now)
        return super().receive(direction, own, now)

    def _refuse(self, frame: bytes, refusal: Refusal, now: float) -> Verdict:
        """The verdict on a call of a hidden tool, as on one that the policy blocks."""
        judge = self._make_judge(Direction.TO_SERVER, frame, now)
        verdict = judge.refuse(refusal)
        if refusal.id_token is None or verdict.reply is None or verdict.reply.startswith(b"["):
            return verdict
        called = PendingRequest(refusal.id_token, "tools/call", None, now)
        findings = list(verdict.findings)
        reply = judge.answer(called, refusal.code, findings, replaces_answer=False)
        return verdict._replace(reply=reply, kind=MessageKind.REQUEST, method=called.method)

    def _with_own_names(self, frame: bytes) -> bytes:
        """A client's frame with the server's names of called tools.

        Raises:
            Refusal: there is no such tool.
        """
        try:
            value = parse_json(frame)
        except Refusal:
            return frame  # the judge refuses it
        changed = _change_members(value, self._with_own_name)
        return frame if changed == value else serialise(changed)

    def _with_own_name(self, message: JsonValue) -> JsonValue:
        call = as_object(message)
        params = as_object(call.get("params"))
        name = params.get("name")
        if call.get("method") != "tools/call" or type(name) is not str:
            return message
        own = self._shown.own_name(name)
        if own is None:
            token = write_id(call.get("id"))
            why = "there is no tool of this name"
            raise Refusal("policy.tool", why, codes.BLOCKED, token)
        return {**call, "params": {**params, "name": own}}

    def _as_shown(self, verdict: Verdict) -> Verdict:
        """A verdict whose lists contain the tools that agents see."""
        is_list = verdict.kind is MessageKind.RESULT and verdict.method == "tools/list"
        is_batch = verdict.kind is None and (verdict.forward or b"").startswith(b"[")
        if verdict.forward is None or not (is_list or is_batch):
            return verdict
        shown = _change_members(parse_json(verdict.forward), self._show_member)
        return verdict._replace(forward=serialise(shown))

    def _show_member(self, message: JsonValue) -> JsonValue:
        answer = as_object(message)
        result = as_object(answer.get("result"))
        tools = result.get("tools")
        if not isinstance(tools, list):
            return message
        shown = self._shown.definitions(tools)
        left: list[JsonValue] = [tool for tool in shown if tool is not None]
        return {**answer, "result": {**result, "tools": left}}


def _change_members(value: JsonValue, change: Callable[[JsonValue], JsonValue]) -> JsonValue:
    """A message, or each member of a batch, changed."""
    return list(map(change, value)) if isinstance(value, list) else change(value)
