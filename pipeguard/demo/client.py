"""A small MCP client for `pipeguard demo`: one server process, one request at a time.

It stores each frame as it was sent or received, so that a demonstration can compare bytes. It
judges nothing, and starts any command.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import NamedTuple

from pipeguard.assess.connecting import CALL_END_SECONDS, close_in_time, run_child
from pipeguard.assess.conversation import ConversationEnded, ServerDialogue
from pipeguard.errors import PipeGuardError
from pipeguard.firewall.protocol.framing import DEFAULT_LIMIT_BYTES
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.launch.child import Command
from pipeguard.transports.channel import ChannelClosed

Json = dict[str, object]

ALL_SECONDS = 120.0  # for a conversation; it waits for the rules to compile, once per machine
LAST_WORDS = 20  # lines of stderr shown when a process is gone


class DemoError(PipeGuardError):
    """The demonstration itself failed: the other side is silent or gone."""


class DemoExchange(NamedTuple):
    """A request and its answer.

    Attributes:
        sent: the request's frame.
        got: the answer's frame.
    """

    sent: str
    got: str

    @property
    def answer(self) -> Json:
        """The answer, parsed; empty if there is none."""
        return mapping(json.loads(self.got or "{}"))

    @property
    def result(self) -> Json:
        """The answer's result; empty if it is an error."""
        return mapping(self.answer.get("result"))


@dataclass
class DemoClient(ServerDialogue):
    """One conversation with a server process.

    Attributes:
        notifications: the methods of received notifications, in order.
        last: the last request, and its answer once it is there.
    """

    notifications: list[str] = field(default_factory=list)
    last: DemoExchange = field(default=DemoExchange("", ""), init=False)

    def ask(self, method: str, params: Mapping[str, object]) -> DemoExchange:
        """Send a request, and wait for the answer.

        Raises:
            ConversationEnded: no answer came.
            ChannelClosed: the server is gone.
        """
        self.request(method, params)
        return self.last

    def send(self, message: Mapping[str, object]) -> None:
        """Send a message to the server, and keep a request's frame."""
        frame = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        if "id" in message:
            self.last = DemoExchange(frame, "")
        self.channel.write(frame.encode())

    def receive(self, frame: bytes, message: JsonObject | None, method: str) -> bool:
        """Keep an answer's frame, and the method of a notification."""
        if method:
            self.last = DemoExchange(self.last.sent, frame.decode())
        elif message is not None:
            self.notifications.append(str(message.get("method")))
        return False


@contextmanager
def converse(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path
) -> Iterator[DemoClient]:
    """Start a server, open a conversation with it, and end it with the context.

    Args:
        command: the command to run.
        folder: its working directory.
        environment: all of its variables.
        log: a file for its standard error.

    Raises:
        DemoError: the server is silent or gone, or does not open a conversation.
    """
    over = Event()
    client = None
    started = Command(command, environment, str(folder))
    try:
        with (
            run_child(started, DEFAULT_LIMIT_BYTES, CALL_END_SECONDS, log) as channel,
            close_in_time(channel, over, ALL_SECONDS),
        ):
            client = DemoClient(channel, over.is_set, client="pipeguard-demo")
            client.open()
            yield client
    except (ConversationEnded, ChannelClosed) as error:
        why = mapping(client.last.answer.get("error")).get("message", error) if client else error
        lines = log.read_text("utf-8", "replace").splitlines()[-LAST_WORDS:]
        words = "\n".join(lines) or "  (it wrote nothing on stderr)"
        raise DemoError(f"the server does not go on: {why}\n{words}") from None


def mapping(value: object) -> Json:
    """A JSON value if it is an object; else an empty object."""
    return value if isinstance(value, dict) else {}
