"""Conversations at a server's own endpoint, which shows its tools as the user configured."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from pipeguard.errors import Refusal
from pipeguard.firewall.finding import Direction, MessageKind, Verdict
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.ids import write_id
from pipeguard.firewall.protocol.json_values import JsonValue, as_object, serialise
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session.events import HiddenTool
from pipeguard.firewall.session.session import Session
from pipeguard.gateway.tools import ShownTools
from pipeguard.transports.http.request_headers import Mirrored
from pipeguard.transports.http.server.sessions import Sessions
from pipeguard.transports.judging import Judge, offload


class ShownSessions(Sessions):
    """The Sessions of clients at a server's own endpoint.

    Attributes:
        shown: the tools that they see.
    """

    shown = ShownTools()

    def mirrored_headers(self, tool: str, who: str = "") -> Mirrored:
        """The headers that repeat a trusted tool's parameters (2026-07-28), with their paths."""
        return super().mirrored_headers(self.shown.own_name(tool) or "", who)


class ShownJudge(Judge):
    """Judges the frames of clients to whom a server's tools are renamed, or partly hidden.

    Args:
        judge: judges the frames as the server sees them.
        shown: the tools that the clients see.
    """

    def __init__(self, judge: Judge, shown: ShownTools) -> None:
        super().__init__(judge.record)
        self._judge = judge
        self._shown = shown

    async def __call__(self, session: Session, direction: Direction, frame: bytes) -> Verdict:
        """Judge a frame, and record the verdict."""
        if direction is Direction.TO_CLIENT:
            verdict = await self._judge(session, direction, frame)
            return await offload(verdict.forward or b"", self._show_lists, verdict)
        try:
            own = await offload(frame, self._with_own_names, frame)
        except Refusal as refusal:
            verdict = session.take(HiddenTool(frame, refusal.id_token, monotonic()))
            self.record(verdict)
            return verdict
        return await self._judge(session, direction, own)

    def _with_own_names(self, frame: bytes) -> bytes:
        """A client's frame with the server's names of called tools.

        Raises:
            Refusal: there is no such tool.
        """
        if not self._shown.has_names:
            return frame
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
            raise Refusal("policy.tool", "it is hidden", codes.BLOCKED, write_id(call.get("id")))
        return {**call, "params": {**params, "name": own}}

    def _show_lists(self, verdict: Verdict) -> Verdict:
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
