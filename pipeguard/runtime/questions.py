"""Questions to the user in the client itself, about messages that were stopped or wait.

Loaded only once something was stopped for a client that declared elicitation. Nothing waits for an
answer: a call continues, or passes when it is repeated, once a grant is in the store, from any
source. A question holds no text of the server except names, which were judged with their
definitions; of a call's arguments, those that say where it goes are whole. Clients may draw it as
Markdown: a picture in it would be fetched, with any data in its address, so no markup is left.

A client that made no handshake is asked in the result of a call that waits, and repeats the call:
the same wait then continues until its time is over.

Sources: MCP client/elicitation of 2025-06-18 and of 2025-11-25, which added URLs; 2026-07-28,
basic/patterns/mrtr.
"""

import json
import os
from collections.abc import Callable, Sequence
from hashlib import sha256
from threading import Lock
from time import monotonic
from typing import NamedTuple

from pipeguard.errors import StateError
from pipeguard.firewall.finding import Action, Direction, Finding, MessageKind, Severity, Verdict
from pipeguard.firewall.pins.fingerprint import canonical
from pipeguard.firewall.policy import InClient
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, serialise
from pipeguard.firewall.protocol.message import Message, parse, rewritten
from pipeguard.firewall.protocol.peers import Peers
from pipeguard.firewall.session.decisions import AskedInResult, WaitEnded
from pipeguard.firewall.session.events import OwnQuestion
from pipeguard.firewall.session.guard import Guard, RepeatedCall
from pipeguard.firewall.session.own_frames import QuestionClosed
from pipeguard.firewall.session.remedies import Way, decisive_rule, find_remedy
from pipeguard.firewall.session.replies import STATE
from pipeguard.firewall.session.session import Event, Session
from pipeguard.runtime.rate_limit import RateLimit
from pipeguard.runtime.run import Run, remember, start_thread
from pipeguard.secrets_in_use import IN_USE
from pipeguard.state.grants import CallGrant, make_grant
from pipeguard.state.page_address import definition_card, new_card, page_address
from pipeguard.state.store import open_store
from pipeguard.transports.http.request_headers import STATELESS, VERSION_META
from pipeguard.transports.pump import take_event
from pipeguard.unicode.display import disarm, quote_name, show

Send = Callable[[list[bytes]], object]
QUESTIONS_PER_HOUR = 12  # of one run, or one page
HOUR_SECONDS = 3600.0
MOST_REMEMBERED = 1024  # topics of questions, and unanswered questions
ARGUMENTS_CHARS = 400
FORMS_SINCE, URLS_SINCE = "2025-06-18", "2025-11-25"  # revisions of MCP
CAPABILITIES_META = "io.modelcontextprotocol/clientCapabilities"
KEY = "pipeguard"  # of our input request, among those of one result
RETRIES = ("inputResponses", "requestState")
WHERE = "an answer in the client"  # a harness may have given it
FIELD, REFUSE, ALLOW = "decision", "Keep it blocked", "Allow this call once"
_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        FIELD: {"type": "string", "title": "Decision", "enum": [REFUSE, ALLOW], "default": REFUSE}
    },
    "required": [FIELD],
}


def make_hourly_limit() -> RateLimit:
    """Limit the questions or notices to a person within an hour."""
    return RateLimit(QUESTIONS_PER_HOUR, HOUR_SECONDS)


class _AskedCall(NamedTuple):
    """A call that waits until its client repeats it with an answer.

    Attributes:
        verdict: the verdict that makes it wait.
        owner: the name of its client's token, or empty.
        digest: of its params.
        retry: its answers to the server; usually empty.
        is_form: True if the answer decides.
    """

    verdict: Verdict
    owner: str
    digest: bytes
    retry: JsonObject
    is_form: bool


class _OpenQuestion(NamedTuple):
    """A question to a client that answers it with a message of its own.

    Attributes:
        id_token: of the request, as it is written in its frame.
        verdict: the verdict that it is about.
        decides: True if the answer decides.
        session: of the client.
        send: sends frames to the client.
    """

    id_token: str
    verdict: Verdict
    decides: bool
    session: Session
    send: Send


class Questions:
    """The questions of one run. Any thread may call it.

    Args:
        run: records the questions, and has the store in which grants are made.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        run.on_answer = self.take_answer
        self._lock = Lock()
        self._limit = make_hourly_limit()
        self._topics: dict[str, None] = {}
        self._open: dict[str, _OpenQuestion] = {}  # by the event
        self._asked_calls: dict[str, _AskedCall] = {}  # by the state that their clients repeat

    def consider(self, verdict: Verdict, session: Session, send: Send) -> None:
        """Ask about a stopped message, once, and unless too many questions were asked.

        Args:
            verdict: stopped something.
            session: of the client, which declared elicitation.
            send: sends frames to the client.
        """
        params = self._choose(verdict, session.state.peers)
        if params is not None:
            start_thread("question", lambda: self._ask(verdict, params, session, send))

    def ask(self, verdict: Verdict, event_id: str, take: Callable[[Event], Verdict]) -> Verdict:
        """Ask about a waiting call in its result (guard.QuestionsInResults)."""
        call = parse(verdict.frame)
        if not isinstance(call, Message) or not self._run.audits:
            return verdict
        params = call.params
        peers = _read_peers(params)
        question = None if peers is None else self._choose(verdict, peers)
        if question is None:
            return verdict
        method, is_form = "elicitation/create", question["mode"] == "form"
        asked: JsonObject = {"method": method, "params": question}
        frame = serialise({"jsonrpc": "2.0", "id": event_id, **asked})
        passes = Direction.TO_CLIENT, frame, Action.ALLOW, frame, None, ()
        if not self._record(Verdict(*passes, event_id, MessageKind.REQUEST, method), verdict):
            return verdict
        state = f"{STATE}{self._run.name}-{os.urandom(24).hex()}"
        retry = {name: params[name] for name in RETRIES if name in params}
        owner, digest = self._run.find_token(verdict.event), _digest(params)
        with self._lock:
            self._asked_calls[state] = _AskedCall(verdict, owner, digest, retry, is_form)
            remember(self._run.asked_in_results, verdict.event, None, MOST_REMEMBERED)
        requests: JsonObject = {KEY: asked}
        result: JsonObject = {
            "resultType": "input_required",
            "inputRequests": requests,
            "requestState": state,
        }
        answered = take(AskedInResult(verdict, monotonic(), result))
        start_thread("question", lambda: self._expire(state, verdict, take))
        return answered

    def ask_for_approval(self, waiting: Sequence[Finding], peers: Peers) -> JsonObject | None:
        """The params of a question about definitions that wait; None if it may not be asked.

        Args:
            waiting: a finding for each.
            peers: the client's description of itself.
        """
        verdict = Verdict(Direction.TO_CLIENT, b"", Action.BLOCK, None, None, tuple(waiting))
        params = self._choose(verdict, peers) if waiting else None
        if params is not None:
            self._run.notice(_make_note("definitions that wait"))
        return params

    def recognize(self, frame: bytes, conversation: str) -> RepeatedCall | None:
        """Take the answer out of a repeated call (guard.QuestionsInResults)."""
        message = parse(frame)
        if not isinstance(message, Message):
            return None
        params = message.params
        state, responses = str(params.get("requestState")), params.get("inputResponses")
        call = self._asked_calls.get(state)
        if call is None or call.owner != self._run.find_token(f"{conversation}."):
            return None
        bare = {name: value for name, value in params.items() if name not in RETRIES}
        bare |= call.retry
        if _digest(bare) != call.digest or self._asked_calls.pop(state, None) is None:
            return None
        choice = _read_choice(responses.get(KEY) if isinstance(responses, dict) else None)
        if choice == ALLOW and call.is_form:
            start_thread("grant", lambda: self._grant(call.verdict))
        if choice == REFUSE:
            self._run.grants.refuse(call.verdict.event)
        repeated = rewritten(message, {**message.value, "params": bare})
        return RepeatedCall(repeated, call.verdict)

    def _expire(self, state: str, verdict: Verdict, take: Callable[[Event], Verdict]) -> None:
        """End the wait of a call that its client does not repeat in time."""
        seconds = (verdict.since or 0.0) + self._run.guard.policy.limits.ask_seconds - monotonic()
        is_over = self._run.over.wait(max(0.0, seconds))
        if not is_over and self._asked_calls.pop(state, None) is not None:
            self._run.record(take(WaitEnded(verdict, monotonic(), "its client did not repeat it")))

    def withdraw(self, event: str) -> None:
        """Cancel the question about an event, if it is open."""
        with self._lock:
            asked = self._open.pop(event, None)
        if asked is not None:
            closed = QuestionClosed(asked.id_token, monotonic())
            asked.send(take_event(asked.session, closed, self._run.record).own_frames)

    def _choose(self, verdict: Verdict, peers: Peers) -> JsonObject | None:
        """The params of a question about a stopped message; None if no question may be asked."""
        topic = _find_topic(verdict)
        params = _write_params(verdict, peers, self._run.guard) if topic else None
        return params if params is not None and self._may_ask(topic, monotonic()) else None

    def _record(self, question: Verdict, verdict: Verdict) -> bool:
        """Record that the user is asked about a verdict; False if nothing may pass."""
        asked = [_make_note(verdict.event)]
        return self._run.record(question.with_findings(question.frame, asked))

    def _may_ask(self, topic: str, now: float) -> bool:
        with self._lock:
            if topic in self._topics or self._limit.seconds_to_wait(now):
                return False
            remember(self._topics, topic, None, MOST_REMEMBERED)
        return True

    def _ask(self, verdict: Verdict, params: JsonObject, session: Session, send: Send) -> None:
        decides = params["mode"] == "form"
        request_id = f"pipeguard-{os.urandom(8).hex()}"  # which no server can guess
        if not decides:
            params = {**params, "elicitationId": request_id}
        frame = serialise(
            {"jsonrpc": "2.0", "id": request_id, "method": "elicitation/create", "params": params}
        )

        asked = take_event(session, OwnQuestion(frame, monotonic()), self._run.record)
        if asked.forward is None or not self._record(asked, verdict):
            return
        with self._lock:
            remember(
                self._open,
                verdict.event,
                _OpenQuestion(f'"{request_id}"', verdict, decides, session, send),
                MOST_REMEMBERED,
            )
        send([asked.forward])

    def take_answer(self, answer: Verdict) -> None:
        """Take the user's answer to a question, from the verdict on its frame."""
        with self._lock:
            open_questions = [*self._open.values()]
        asked = next((each for each in open_questions if each.id_token == answer.question), None)
        message = parse(answer.frame)
        if asked is None or not isinstance(message, Message):
            return
        choice = _read_choice(message.value.get("result"))
        if choice == ALLOW and asked.decides:
            start_thread("grant", lambda: self._grant(asked.verdict))
        elif choice == REFUSE:
            self._run.grants.refuse(asked.verdict.event)

    def _grant(self, verdict: Verdict) -> None:
        server, tool = self._run.guard.name, verdict.tool or ""
        grant = CallGrant(verdict.mark, verdict.event, server, tool, "")
        try:
            with open_store(self._run.store) as store:
                make_grant(store, grant, WHERE)
        except StateError as error:
            self._run.log_unless_gone("error", "the call could not be allowed", why=str(error))


def _make_note(topic: str) -> Finding:
    note = f"PipeGuard asks the user in the client about {topic}"
    finding = Finding("audit.question", "envelope", severity=Severity.INFO, note=note)
    return finding._replace(action=Action.ALLOW)


def _find_stopped(verdict: Verdict) -> list[Finding]:
    return [finding for finding in verdict.findings if finding.action >= Action.ASK]


def _decisive_rule(verdict: Verdict) -> str:
    stopped = _find_stopped(verdict)
    rules = [(finding.rule, finding.tool or "") for finding in stopped]
    return decisive_rule(stopped[0].rule, stopped[0].tool or "", rules)


def _find_held(verdict: Verdict) -> list[Finding]:
    """The findings of definitions that wait; a person has decided on a rejected one."""
    found = (each for each in _find_stopped(verdict) if each.rule != "trust.left-out")
    return [each for each in found if find_remedy(each.rule).way is Way.APPROVE]


def _find_topic(verdict: Verdict) -> str:
    """The topic of a question, which is asked about once; empty if a person cannot decide it."""
    if held := _find_held(verdict):
        return repr(sorted({each.tool or each.place for each in held}))
    is_call = verdict.kind is MessageKind.REQUEST and verdict.method == "tools/call"
    if not is_call or verdict.direction is not Direction.TO_SERVER:
        return ""
    rule = _decisive_rule(verdict)
    if find_remedy(rule).way is not Way.EXCEPTION:
        return ""
    return verdict.mark or repr((rule, verdict.tool))


def _read_peers(params: JsonObject) -> Peers | None:
    """The client's declarations in a request; None after a handshake."""
    meta = params.get("_meta")
    if not isinstance(meta, dict) or meta.get(VERSION_META) != STATELESS:
        return None
    return Peers.read_client(STATELESS, meta.get(CAPABILITIES_META))


def _digest(params: JsonObject) -> bytes:
    """A digest of a call, without `_meta`, which clients change each time."""
    plain = {name: value for name, value in params.items() if name != "_meta"}
    return sha256(canonical(plain)).digest()


def _write_params(verdict: Verdict, peers: Peers, guard: Guard) -> JsonObject | None:
    """The params of a question in the mode that policy, client and page allow; else None."""
    policy, server = guard.policy, guard.name
    revision, modes = peers.revision or "", peers.capabilities
    text = disarm(IN_USE.mask(_describe(verdict, server, policy.limits.ask_seconds)))
    waits = verdict.action is Action.ASK and bool(verdict.mark)
    is_form = policy.ask_in_client is InClient.FORM and waits and revision >= FORMS_SINCE
    if is_form and "elicitation/form" in modes:
        return {"mode": "form", "message": text, "requestedSchema": _SCHEMA}
    if policy.ask_in_client is InClient.NEVER or revision < URLS_SINCE:
        return None
    address = page_address() if "elicitation/url" in modes else ""
    if not address:
        return None
    return {
        "mode": "url",
        "message": f"{text} Open PipeGuard's page for it?",
        "url": f"{address}/#{_find_card(verdict, server)}",
    }


def _find_card(verdict: Verdict, server: str) -> str:
    """The card on the page on which the person decides."""
    held = _find_held(verdict)
    if not held:
        return verdict.event
    kind, name = held[0].place.partition(".")[0], held[0].tool
    if held[0].rule == "trust.drifted" and name:
        return definition_card(server, "tool" if kind == "call" else kind, name)
    return new_card(server)


def _describe(verdict: Verdict, server: str, ask_seconds: float) -> str:
    """The sentences that describe the waiting call or definition, in our words."""
    server = quote_name(server)
    if held := _find_held(verdict):
        count = len({(each.place, each.tool) for each in held})
        what = quote_name(held[0].tool) if held[0].tool else "a definition"
        more = f" and {count - 1} more" if count > 1 else ""
        return (
            f"PipeGuard holds {what}{more} of the server {server}: new, or changed since it was"
            " trusted. It cannot be used until you have looked at it."
        )
    tool = quote_name(verdict.tool) if verdict.tool else "a tool"
    rule = _decisive_rule(verdict)
    if verdict.action is not Action.ASK:
        return (
            f"PipeGuard stopped a call of {tool} of the server {server} (rule {rule}, event"
            f" {verdict.event}). If you allow it, the agent must repeat it."
        )
    first = next((each for each in verdict.findings if each.arguments), verdict.findings[0])
    given = json.loads(first.arguments or "{}", parse_int=str)  # of any length
    telling = dict([*given.items()][: int(first.targets or 0)])  # which are never cut
    arguments = show(first.arguments, len(json.dumps(telling)) + ARGUMENTS_CHARS)
    unseen = int(first.unseen or 0) + max(0, len(first.arguments) - len(arguments))
    more = f", and {unseen} characters that you have not seen" if unseen else ""
    return (
        f"The agent wants to call {tool} of the server {server}. PipeGuard lets it wait for your"
        f" answer for {ask_seconds:.0f} s (rule {rule}, event {verdict.event}). Its"
        f" arguments: {arguments}{more}."
    )


def _read_choice(result: JsonValue) -> str:
    """The user's choice in the answer to a form; empty if it is missing or illegible."""
    if not isinstance(result, dict):
        return ""
    content = result.get("content")
    if result.get("action") == "accept" and isinstance(content, dict):
        return next((choice for choice in (REFUSE, ALLOW) if content.get(FIELD) == choice), "")
    return REFUSE if result.get("action") == "decline" else ""
