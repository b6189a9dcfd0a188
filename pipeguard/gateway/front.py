"""The gateway's side of its clients' conversations: their Sessions, their judge, their audit.

Checks only the protocol. The content is judged on its way to a server.
"""

import asyncio
from collections.abc import Callable
from time import monotonic

from pipeguard.detect.detector import Engines, make_guard
from pipeguard.errors import Refusal
from pipeguard.firewall.finding import Action, Direction, Finding, MessageKind, Verdict
from pipeguard.firewall.policy import Policy
from pipeguard.firewall.protocol import codes, ids
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    as_object,
    read_object,
    serialise,
)
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session.events import HiddenTool
from pipeguard.firewall.session.guard import Guard
from pipeguard.firewall.session.session import Session
from pipeguard.gateway.tools import ShownTools
from pipeguard.log import Log
from pipeguard.runtime.run import make_run_id, mask_verdict
from pipeguard.state.paths import store_file
from pipeguard.state.recorder import Recorder
from pipeguard.transports.http.request_headers import Mirrored, find_mirrored
from pipeguard.transports.http.server.sessions import Sessions
from pipeguard.transports.judging import Judge, judge_frame, offload, with_value
from pipeguard.transports.pump import take_event

NAME = "gateway"
MAX_SESSIONS = 1000
IDLE_SECONDS = 1800.0
MOST_IN_PASS = 8  # frames of clients, judged in one pass of the loop


def front_guard(engines: Engines, policy: Policy) -> Guard:
    """A guard for conversations with clients, under the limits of a policy.

    Each server's conversation limits the time for an answer from when its call is forwarded; before
    that, the call may wait for a person.
    """
    limits = policy.limits
    if limits.timeout_seconds is not None:
        limits = limits._replace(timeout_seconds=limits.timeout_seconds + limits.ask_seconds)
    guard = make_guard(NAME, engines, policy._replace(limits=limits), {})
    guard.inspects = False
    return guard


class FrontSessions(Sessions):
    """The Sessions of the gateway's clients.

    Args:
        guard: of all of them, from `front_guard`.
        run: names this run.
        find_definition: finds the definition of a tool by the name under which the client of a
            token calls it; None if that client has no such tool.
    """

    def __init__(
        self, guard: Guard, run: str, find_definition: Callable[[str, str], JsonObject | None]
    ) -> None:
        super().__init__(guard, run, MAX_SESSIONS, IDLE_SECONDS)
        self._find_definition = find_definition

    def mirrored_headers(self, tool: str, who: str = "") -> Mirrored:
        """The headers that repeat a tool's parameters (2026-07-28), with their paths."""
        definition = self._find_definition(tool, who)
        return {} if definition is None else find_mirrored(definition)


class FrontJudge(Judge):
    """Judges the frames of the gateway's clients, several of them in a pass of the loop.

    They cost little here. If each waited for a pass, a call of a quiet server would wait one pass
    for each earlier call of a busy one. Logs and audits the gateway's own refusals only: the
    servers' Sessions record their own.

    Args:
        log: for people.

    Attributes:
        run: the name of this run in the audit.
        recorder: writes it.
    """

    def __init__(self, log: Log) -> None:
        super().__init__(self._record)
        self.record_own = self._record_any
        self.run = make_run_id()
        self.recorder = Recorder(store_file(), "", self.run, log=log)
        self._refused = 0
        self._judged = 0  # in this pass

    async def __call__(self, session: Session, direction: Direction, frame: bytes) -> Verdict:
        """Judge a frame, and record the verdict."""
        while self._judged >= MOST_IN_PASS:  # noqa: ASYNC110  each pass begins with none
            await asyncio.sleep(0)
        if not self._judged:
            asyncio.get_running_loop().call_soon(self._begin_pass)
        self._judged += 1
        verdict = await judge_frame(session, direction, with_value(frame), self.record)
        self.record(verdict)
        return verdict

    def _begin_pass(self) -> None:
        self._judged = 0

    def _record(self, verdict: Verdict) -> None:
        """Record a message that broke the protocol."""
        if verdict.action is Action.BLOCK:
            self._record_any(verdict)

    def _record_any(self, verdict: Verdict) -> None:
        self.recorder.record(mask_verdict(verdict))

    def record_refusal(self, finding: Finding, client: str) -> None:
        """Record refused HTTP requests.

        Args:
            finding: the reason, and the count.
            client: the address of the first one's client.
        """
        self._refused += 1
        self.recorder.refuse(finding, client, f"{self.run}.e{self._refused}")

    def notice(self, finding: Finding) -> None:
        """Record a finding that concerns no single message."""
        self.recorder.notice(finding, f"{self.run}.n1")

    def close(self) -> None:
        """Write the pending records."""
        self.recorder.close()


# --- clients at a server's own endpoint, which shows its tools as the user configured ----


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
            verdict = take_event(session, HiddenTool(frame, refusal.id_token, monotonic()))
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
        params = read_object(call, "params")
        name = params.get("name")
        if call.get("method") != "tools/call" or type(name) is not str:
            return message
        own = self._shown.own_name(name)
        if own is None:
            raise Refusal(
                "policy.tool", "it is hidden", codes.BLOCKED, ids.write_id(call.get("id"))
            )
        return {**call, "params": {**params, "name": own}}

    def _show_lists(self, verdict: Verdict) -> Verdict:
        """A verdict whose lists contain the tools that agents see."""
        is_list = verdict.kind is MessageKind.RESULT and verdict.method == "tools/list"
        forward = verdict.forward or b""
        if not (is_list and forward) and not forward.startswith(b"["):
            return verdict
        shown = _change_members(parse_json(forward), self._show_member)
        return verdict._replace(forward=serialise(shown))

    def _show_member(self, message: JsonValue) -> JsonValue:
        answer = as_object(message)
        result = read_object(answer, "result")
        tools = result.get("tools")
        if not isinstance(tools, list):
            return message
        shown = self._shown.definitions(tools)
        left: list[JsonValue] = [tool for tool in shown if tool is not None]
        return {**answer, "result": {**result, "tools": left}}


def _change_members(value: JsonValue, change: Callable[[JsonValue], JsonValue]) -> JsonValue:
    """A message, or each member of a batch, changed."""
    return list(map(change, value)) if isinstance(value, list) else change(value)
