"""Lists a server's offers: every list to its end, every frame judged, no tool called.

The frames go through a Session as they do in `wrap`, so its findings match the guard's verdicts.
Nothing is pinned or recorded.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock

from pipeguard.assess.target import Contents, Flagged, Offer
from pipeguard.detect.flows.tool_labels import Label, make_tool
from pipeguard.errors import Refusal
from pipeguard.firewall.finding import Direction, Verdict
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Number, read_object
from pipeguard.firewall.protocol.message import Message, parse
from pipeguard.firewall.protocol.peers import announces_list
from pipeguard.firewall.protocol.places import LISTS
from pipeguard.firewall.session.session import Session
from pipeguard.transports.channel import Channel, ChannelClosed
from pipeguard.transports.pump import take_frame
from pipeguard.unicode.display import show
from pipeguard.version import VERSION

REVISION = "2025-06-18"
RUN = "ASSESS"
CLIENT = "pipeguard-assess"
MOST_PAGES = 200  # of one list
MOST_FRAMES = 5_000  # from a server that talks but does not answer
INFO_CHARS = 60
_METHOD_NOT_FOUND = -32601


class ConversationEnded(Exception):  # noqa: N818  a server that hangs up is not an error of ours
    """The conversation ended early; the text is for the user."""


@dataclass
class ServerDialogue:
    """Requests to one server and its answers, one after another.

    Attributes:
        channel: carries the frames.
        is_over: whether the time is up.
        client: the name of the client that asks.
    """

    channel: Channel
    is_over: Callable[[], bool]
    client: str = field(default=CLIENT, kw_only=True)
    _count: int = field(default=0, init=False)

    def open(self) -> JsonObject:
        """Open the conversation; return the server's answer (MCP basic/lifecycle).

        Raises:
            ConversationEnded: the server did not open it.
        """
        info = {"name": self.client, "version": VERSION}
        params = {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": info}
        opened = self.request("initialize", params)
        result = opened.get("result")
        if not isinstance(result, dict):
            raise ConversationEnded("It does not open a conversation.")
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return result

    def request(self, method: str, params: Mapping[str, object]) -> JsonObject:
        """Send a request, and return the whole answer.

        Raises:
            ConversationEnded: the server did not answer.
        """
        self._count += 1
        number = self._count
        self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        for _ in range(MOST_FRAMES):
            frame = self.channel.read()
            if frame is None:
                late = "It did not answer in time" if self.is_over() else "It ended"
                raise ConversationEnded(f"{late}, at {method}.")
            message = _message(frame)
            is_answer = (
                message is not None
                and "method" not in message
                and str(message.get("id")) == str(number)
            )
            is_answered = self.receive(frame, message, method if is_answer else "")
            if not is_answered and message and "method" in message and "id" in message:
                self._decline(message)
            if message is not None and is_answer:
                return message
        raise ConversationEnded(f"It sent {MOST_FRAMES} messages, and no answer to {method}.")

    def send(self, message: Mapping[str, object]) -> None:
        """Send a message to the server."""
        self.channel.write(json.dumps(message).encode())

    def receive(self, frame: bytes, message: JsonObject | None, method: str) -> bool:
        """Inspect a frame of the server; return True if it was answered.

        Args:
            frame: its bytes.
            message: the parsed frame; None if it is unreliable.
            method: the method of the request that it answers, or empty.
        """
        del frame, message, method
        return False

    def _decline(self, message: JsonObject) -> None:
        """Decline a server's request to the client: it gets no roots, model or person."""
        number = message["id"]
        same = json.loads(number) if isinstance(number, Number) else number
        answer: dict[str, object] = {"jsonrpc": "2.0", "id": same}
        if message["method"] == "ping":
            answer["result"] = {}
        else:
            answer["error"] = {"code": _METHOD_NOT_FOUND, "message": "not supported"}
        self.send(answer)


@dataclass
class Conversation(ServerDialogue):
    """A conversation with one server, with every frame judged.

    Attributes:
        judging: held while a frame of any server is judged: the engines serve one at a time.
        offers: the server's offers so far.
        flagged: the rules' findings so far.
        info: its name and version.
        drifted: definitions that differ from the approved ones.
    """

    session: Session
    judging: Lock
    offers: list[Offer] = field(default_factory=list)
    flagged: list[Flagged] = field(default_factory=list)
    info: dict[str, str] = field(default_factory=dict)
    drifted: list[str] = field(default_factory=list)

    def hold(self) -> Contents:
        """List everything. If the server breaks off, its answers until then count."""
        problem = ""
        try:
            opened = self.open()
            self._note_info(opened.get("serverInfo"))
            capabilities = read_object(opened, "capabilities")
            for method in LISTS:
                if method == "tools/list" or announces_list(capabilities, method):
                    self._list(method)
        except ConversationEnded as stopped:
            problem = str(stopped)
        except ChannelClosed:
            problem = "It hung up."
        drifted = tuple(dict.fromkeys(self.drifted))
        return Contents(problem, tuple(self.offers), tuple(self.flagged), drifted, self.info)

    def _list(self, method: str) -> None:
        member, kind, key = LISTS[method]
        cursor: JsonValue = None
        seen: set[str] = set()
        for _ in range(MOST_PAGES):
            params: JsonObject = {} if cursor is None else {"cursor": cursor}
            result = self.request(method, params).get("result")
            if not isinstance(result, dict):
                return  # it announces the list but refuses it
            if isinstance(listed := result.get(member), list):
                self.offers += _read_offers(listed, kind, key)
            cursor = result.get("nextCursor")
            if not isinstance(cursor, str) or cursor in seen:
                return
            seen.add(cursor)
        raise ConversationEnded(f"Its {member} go on after {MOST_PAGES} pages.")

    def send(self, message: Mapping[str, object]) -> None:
        """Send a message to the server if the session lets it pass."""
        verdict = self._judge_frame(Direction.TO_SERVER, json.dumps(message).encode())
        if verdict.forward is not None:
            self.channel.write(verdict.forward)

    def receive(self, frame: bytes, message: JsonObject | None, method: str) -> bool:
        """Judge a frame, and note what the rules find in it."""
        verdict = self._judge_frame(Direction.TO_CLIENT, frame)
        self._note(verdict, message, method)
        if verdict.reply is not None:
            self.channel.write(verdict.reply)
        return verdict.reply is not None

    def _judge_frame(self, direction: Direction, frame: bytes) -> Verdict:
        with self.judging:
            return take_frame(self.session, direction, frame)

    def _note(self, verdict: Verdict, message: JsonObject | None, method: str) -> None:
        for finding in verdict.findings:
            if finding.rule == "trust.drifted":
                self.drifted.append(show(finding.tool or finding.place, INFO_CHARS))
            elif not finding.rule.startswith(("trust.", "protocol.")):
                what = _what(finding.pointer, message, method)
                self.flagged.append(Flagged(finding, what))

    def _note_info(self, info: JsonValue) -> None:
        if isinstance(info, dict):
            for key in ("name", "version"):
                if isinstance(value := info.get(key), str):
                    self.info[key] = show(value, INFO_CHARS)


def _read_offers(listed: list[JsonValue], kind: str, key: str) -> Iterator[Offer]:
    """Read the definitions of one page of a list."""
    for item in listed:
        if isinstance(item, dict) and isinstance(name := item.get(key), str):
            yield Offer(kind, name, make_tool(name, item).labels if kind == "tool" else Label.NONE)


def _message(frame: bytes) -> JsonObject | None:
    """Parse a frame; None if it is unreliable."""
    with suppress(Refusal):
        message = parse(frame)
        if isinstance(message, Message):
            return message.value
    return None


def _what(pointer: str, message: JsonObject | None, method: str) -> str:
    """Return the definition that a pointer leads into, as `tool read_file`."""
    if method == "initialize":
        return "its opening"
    match = re.match(r"/result/(\w+)/(\d+)", pointer)
    result = message.get("result") if message else None
    if match is None or not isinstance(result, dict) or method not in LISTS:
        return f"its answer to {method}" if method else "what it sends unasked"
    member, kind, key = LISTS[method]
    items = result.get(member)
    index = int(match[2])
    if match[1] != member or not isinstance(items, list) or index >= len(items):
        return f"its answer to {method}"
    item = items[index]
    name = item.get(key) if isinstance(item, dict) else None
    return f"{kind} {show(name, INFO_CHARS)}" if isinstance(name, str) else f"{kind} {index + 1}"
