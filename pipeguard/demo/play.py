"""The five scenes of `pipeguard demo`, and their expected results.

Each scene shows what the client sent, what the server got and sent, and what the model got, and
whether that is as expected. The server is real and runs behind the command that a user runs; this
module only talks to it and reads the server's own record. It prints nothing.
"""

import base64
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeguard.config.atomic_write import replace_file
from pipeguard.demo.client import DemoClient, DemoError, DemoExchange, Json, converse, mapping
from pipeguard.installation import own_command
from pipeguard.launch.environment import STORE_VARIABLE
from pipeguard.state.database import connect
from pipeguard.state.paths import STORE_NAME
from pipeguard.state.pins import Store

SERVER = Path(__file__).with_name("server.py")
# PipeGuard as a client starts it; -E and -P as in pipeguard._isolate.
WRAP = (sys.executable, "-E", "-P", "-m", "pipeguard", "wrap", "--name", "demo", "--")


class Scene(NamedTuple):
    """The result of a scene.

    Attributes:
        name: one word, or two with a hyphen.
        title: a sentence.
        client_sent: the request, secrets masked.
        server_got: the part of it that reached the server.
        server_sent: the server's answer; empty if it got no request.
        model_got: the text that the client passed to the model.
        rule: the rule that decided, or empty.
        event: the decision's name in audit and log, or empty.
        command: the command that tells more, or empty.
        failures: the differences from the expected result, as sentences.
    """

    name: str
    title: str
    client_sent: str
    server_got: str
    server_sent: str
    model_got: str
    rule: str = ""
    event: str = ""
    command: str = ""
    failures: tuple[str, ...] = ()


class Act(NamedTuple):
    """One request, seen from both sides.

    Attributes:
        exchange: the client's side.
        got: frames that reached the server in the meantime.
        sent: frames that the server sent in the meantime.
    """

    exchange: DemoExchange
    got: tuple[str, ...]
    sent: tuple[str, ...]

    @property
    def refusal(self) -> Json:
        """PipeGuard's refusal in the answer; empty if the request passed."""
        error = mapping(self.exchange.answer.get("error"))
        return mapping(mapping(self.exchange.result.get("_meta")).get("pipeguard")) or (
            mapping(error.get("data"))
        )

    @property
    def model_got(self) -> str:
        """The text that a client passes to the model."""
        error = self.exchange.answer.get("error")
        text = " ".join(text_blocks(self.exchange.result))
        return str(mapping(error).get("message")) if error else text


class Stage:
    """A client, and the server's record of its own side."""

    def __init__(self, client: DemoClient, record: Path) -> None:
        self.client = client
        self._record = record
        self._seen = 0

    def call(self, name: str, **arguments: str) -> Act:
        """Call a tool."""
        return self.ask("tools/call", {"name": name, "arguments": arguments})

    def ask(self, method: str, params: Json) -> Act:
        """Send a request, and record what reached the server."""
        exchange = self.client.ask(method, params)
        # A ping's answer comes after everything sent before it, in both directions.
        ping = self.client.ask("ping", {})
        lines = self._record.read_text(encoding="utf-8").splitlines()
        records = [*map(json.loads, lines[self._seen :])]
        self._seen = len(lines)
        got, sent = (
            tuple(each[way] for each in records if each.get(way) not in (None, ping.sent, ping.got))
            for way in ("got", "sent")
        )
        return Act(exchange, got, sent)


def play(wrap: Sequence[str] = WRAP, copy_to: Path | None = None) -> Iterator[Scene]:
    """Play all scenes; each is yielded when it is over.

    Args:
        wrap: the words before the server's own command; empty to play without a guard.
        copy_to: the file for a final copy of the store; None to keep nothing.

    Raises:
        DemoError: a side is silent or gone.
    """
    with tempfile.TemporaryDirectory(prefix="pipeguard-demo-") as name:
        folder = Path(name)
        record = folder / "server-record.jsonl"
        record.touch()
        command = [*wrap, sys.executable, "-I", str(SERVER), str(record)]
        log = folder / "stderr"
        with converse(command, folder, _environment(folder), log) as client:
            stage = Stage(client, record)
            listed = stage.ask("tools/list", {})
            for scene in SCENES:
                yield scene(stage, listed)
        if copy_to is not None:
            path = folder / "state" / STORE_NAME
            with Store(path, connect(path)) as store:
                content = store.content()
            try:
                replace_file(copy_to, content)
            except OSError as error:
                why = f"its events cannot be kept in {copy_to}: {error.strerror}."
                raise DemoError(why) from None


def leaked_key() -> str:
    """Return a fake AWS access key id: the same on every run, and in no file."""
    digest = hashlib.sha256(b"a key for pipeguard demo").digest()
    return "AK" + "IA" + base64.b32encode(digest).decode()[:16]


def _clean_call(stage: Stage, _: Act) -> Scene:
    act = stage.call("get_forecast", city="Oslo")
    return Scene(
        "clean-call",
        "A clean call passes, byte for byte.",
        show(act.exchange.sent),
        _same(act.got, act.exchange.sent),
        shown_text(act.sent),
        f"{act.model_got}  ({_same(act.sent, act.exchange.got)})",
        failures=_failures(
            (act.got == (act.exchange.sent,), "the server did not get the bytes that were sent"),
            (act.sent == (act.exchange.got,), "the client did not get the bytes that were sent"),
        ),
    )


def _leaked_key(stage: Stage, _: Act) -> Scene:
    note = f"Staging works again with {leaked_key()}, please keep it to yourself."
    act = stage.call("send_note", to="kim", text=note)
    return _refuse(
        "leaked-key",
        "A key in an argument is stopped before the server.",
        act,
        (act.got == (), "the key reached the server"),
        (leaked_key() not in act.exchange.got, "the refusal repeats the key"),
        (act.refusal.get("place") == "call.arguments", "the refusal names no place"),
    )


def _split_injection(stage: Stage, _: Act) -> Scene:
    act = stage.call("read_page", url="https://example.com/opening-hours")
    return _refuse(
        "split-injection",
        "An order to the model, cut in two, is stopped before the model.",
        act,
        (len(act.got) == 1, "the call did not reach the server"),
        ("instructions and send" not in act.exchange.got, "the order reached the model"),
    )


def _poisoned_description(stage: Stage, listed: Act) -> Scene:
    offered = tool_names(listed.sent[-1])
    left = tool_names(listed.exchange.got)
    act = stage.call("convert", amount="10", note="")
    return _refuse(
        "poisoned-description",
        "A tool whose description gives orders is left out of the list, and cannot be called.",
        act,
        ("convert" in offered, "the server did not offer the tool"),
        ("convert" not in left, "the model sees the tool"),
        ([name for name in offered if name != "convert"] == left, "a clean tool is missing"),
        ("id_rsa" not in listed.exchange.got, "the model reads the poisoned words"),
        (act.got == (), "the call reached the server"),
        server_sent=f"a list of {', '.join(offered)}",
        model_got=f"a list of {', '.join(left)}; a call gets: {act.model_got}",
    )


def _rug_pull(stage: Stage, listed: Act) -> Scene:
    stage.call("get_forecast", city="Bergen")  # after it, the server says that its tools changed
    announced = "notifications/tools/list_changed" in stage.client.notifications
    again = stage.ask("tools/list", {})
    before, now = (description(act.exchange.got, "get_forecast") for act in (listed, again))
    offered = description(again.sent[-1], "get_forecast")
    act = stage.call("get_forecast", city="Oslo", context="all that was said so far")
    return _refuse(
        "rug-pull",
        "A tool that changes after it was trusted keeps its approved words, and is held.",
        act,
        (announced, "the server did not announce the change"),
        (offered != before, "the server did not change the tool"),
        (now == before, "the model reads the changed words"),
        (act.got == (), "the call reached the server"),
        server_sent=f"get_forecast as {offered!r}",
        model_got=f"get_forecast as {now!r}; a call gets: {act.model_got}",
    )


SCENES: tuple[Callable[[Stage, Act], Scene], ...] = (
    _clean_call,
    _leaked_key,
    _split_injection,
    _poisoned_description,
    _rug_pull,
)


def _refuse(
    name: str,
    title: str,
    act: Act,
    *checks: tuple[bool, str],
    server_sent: str = "",
    model_got: str = "",
) -> Scene:
    """Make a scene in which something must be refused, in words that a model can read."""
    rule, event = (str(act.refusal.get(key, "")) for key in ("rule", "event"))
    command = f"{own_command()} explain {event}" if event else ""
    return Scene(
        name,
        title,
        show(act.exchange.sent),
        _same(act.got, act.exchange.sent),
        server_sent or shown_text(act.sent),
        model_got or act.model_got,
        rule,
        event,
        command,
        _failures(
            *checks,
            (act.exchange.result.get("isError") is True, "the model was not told of a failure"),
            (bool(rule and event and command), "the refusal lacks rule, event or command"),
            (event in act.model_got, "the model was not told the event"),
        ),
    )


def _failures(*checks: tuple[bool, str]) -> tuple[str, ...]:
    return tuple(sentence for holds, sentence in checks if not holds)


def _same(frames: tuple[str, ...], frame: str) -> str:
    if not frames:
        return "nothing"
    size = len(frames[0].encode())
    return f"the same {size} bytes" if frames == (frame,) else f"other bytes, {size} of them"


def show(frame: str) -> str:
    """Format a request in one line for people: method, tool and arguments, with the key masked."""
    message = mapping(json.loads(frame))
    params = mapping(message.get("params"))
    arguments = json.dumps(params.get("arguments", {}), ensure_ascii=False)
    return mask(f"{message.get('method')} {params.get('name', '')} {arguments}")


def shown_text(frames: tuple[str, ...]) -> str:
    """Format the server's answer in one line for people."""
    results = (mapping(mapping(json.loads(frame)).get("result")) for frame in frames[:1])
    return " | ".join(block for result in results for block in text_blocks(result))


def mask(text: str) -> str:
    """Mask the key in a text, because it would alarm a scan of a log for keys."""
    key = leaked_key()
    return text.replace(key, key[:4] + "*" * (len(key) - 4))


def text_blocks(result: Json) -> list[str]:
    """The text blocks of a tool's result."""
    content = result.get("content")
    blocks = content if isinstance(content, list) else []
    return [str(mapping(block).get("text", "")) for block in blocks]


def tool_names(frame: str) -> list[str]:
    """The names of the tools in an answer to tools/list."""
    return [str(tool.get("name")) for tool in _tools(frame)]


def description(frame: str, name: str) -> str:
    """A tool's description in an answer to tools/list; empty if the tool is missing."""
    texts = [str(tool.get("description")) for tool in _tools(frame) if tool.get("name") == name]
    return "".join(texts)


def _tools(frame: str) -> list[Json]:
    tools = mapping(mapping(json.loads(frame)).get("result")).get("tools")
    return [mapping(tool) for tool in tools] if isinstance(tools, list) else []


def _environment(folder: Path) -> dict[str, str]:
    """Our variables, with a state folder of the demonstration's own and an empty policy."""
    policy = folder / "policy.yaml"
    policy.touch(mode=0o600)
    state = {"PIPEGUARD_STATE_DIR": str(folder / "state"), "PIPEGUARD_POLICY": str(policy)}
    return {**os.environ, **state, STORE_VARIABLE: ""}
