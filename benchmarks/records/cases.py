"""Sessions in which honest clients and servers mention secrets, in many writings and places.

A case is one secret in one writing at one place of `places.yaml`. Another turn combines them anew.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

import yaml

from benchmarks.detection.disguise import DISGUISES, split
from benchmarks.detection.mint import Format, Use, formats, mint
from benchmarks.records.search import random_grams

FAMILIES, PER_SESSION = 95, 8  # formats; cases
CLIENT, SERVER = "client", "server"
REVISION = "2025-11-25"
WRITINGS = [
    *("base64", "base64url", "base64-lines", "hex", "hex-spaced", "percent-all", "html-entities"),
    *("js-escapes", "quoted-printable", "bidi", "reversed", "spaced", "dotted", "zero-width"),
    *("fullwidth", "confusables", "json-string", "base64-twice", "hex-in-base64"),
    "json-string-twice",
]
TWICE = ("base64-twice", "hex-in-base64", "json-string-twice")
HONEST = (
    "The build of the shop finished on Tuesday, and two tests were skipped.",
    "Mara moved the meeting with the harbour office to half past nine.",
    "The invoice template lacks the address of the branch in Turku.",
    "Rows without a country are counted under the heading of the parent company.",
    "The parser reads one line at a time and keeps the last comment it saw.",
    "See chapter four of the handbook for the list of holidays.",
)
TOOLS = ("lookup", "write_note", "run_query", "send_message")
PLACES: dict[str, dict[str, list[Any]]] = yaml.safe_load(
    Path(__file__).with_name("places.yaml").read_text("utf-8")
)
OWN_TOOLS = [
    {"name": name, "description": "Looks something up.", "inputSchema": {"type": "object"}}
    for name in TOOLS
]
_MARK = re.compile(r"<(\w+)>")
_ESCAPE = re.compile(r"\\u0001(.*?)\\u0002")  # in a frame: characters to be escaped
Fields = dict[str, Any]


class Talk:
    """The frames of one session in the making, each with its side."""

    def __init__(self, server: str, tools: Sequence[Any]) -> None:
        """Begin with the handshake and the list of tools."""
        self.frames: list[tuple[str, bytes]] = []
        self._last_id = 0
        offers: Fields = {"tools": {"listChanged": True}, "logging": {}, "prompts": {}}
        opening = {"protocolVersion": REVISION, "capabilities": {}}
        opened = {**opening, "capabilities": offers, "serverInfo": {"name": server, "version": "1"}}
        client = {"clientInfo": {"name": "desk", "version": "2.1"}}
        self.add({"ask": "initialize", "params": opening | client, "answer": opened})
        self._say(CLIENT, {"method": "notifications/initialized"})
        self.add({"ask": "tools/list", "params": {}, "answer": {"tools": tools}})

    def add(self, step: Mapping[str, Any]) -> None:
        """Add a step as in `places.yaml`, filled in."""
        if "note" in step:
            self._say(SERVER, {"method": step["note"], "params": step.get("params", {})})
            return
        self._last_id += 1
        tool = step.get("tool", TOOLS[self._last_id % len(TOOLS)])
        call = {"name": tool, "arguments": step.get("arguments", {})}
        own: Fields = {"id": step.get("id", self._last_id)}
        asked = {"method": step.get("ask", "tools/call"), "params": step.get("params", call)}
        result = {"content": [{"type": "text", "text": step.get("text", "")}]}
        answer = {"result": step.get("answer", result)}
        self._say(CLIENT, own | asked)
        self._say(SERVER, own | ({"error": step["error"]} if "error" in step else answer))

    def _say(self, side: str, message: Fields) -> None:
        frame = json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False)
        self.frames.append((side, _ESCAPE.sub(_escape, frame).encode()))


def _escape(text: re.Match[str]) -> str:
    return DISGUISES["js-escapes"](json.loads(f'"{text[1]}"'))


@dataclass(frozen=True)
class Case:
    """One secret in a session.

    Attributes:
        format: of the secret.
        writing: its disguise; `text` for none.
        place: in the frames.
        grams: runs of its characters, of which none may be read.
        frames: the numbers of its frames in the session.
    """

    format: Format
    writing: str
    place: str
    grams: frozenset[str]
    frames: range


@dataclass(frozen=True)
class Script:
    """The frames of a session, and the secrets in them."""

    frames: Sequence[tuple[str, bytes]]
    cases: Sequence[Case] = ()


Plan = tuple[Format, str, str]


def make_scripts(count: int, turn: int) -> Iterator[Script]:
    """Sessions with four cases of each family of secrets.

    Args:
        count: of families, which are formats chosen by the hash of their names.
        turn: another one has other secrets, writings and places.
    """
    uses = (Use.ALONE, Use.CHECKED, Use.KEYWORD)
    chosen = [each for each in formats().values() if each.use in uses]
    chosen.sort(key=lambda each: sha256(each.name.encode()).digest())
    planned = [*_plan(chosen[:count], Random(turn))]
    Random(turn).shuffle(planned)  # a session has no two of one family, or few
    for start in range(0, len(planned), PER_SESSION):
        yield _script(planned[start : start + PER_SESSION], f"{turn} {start}")


def _plan(chosen: Sequence[Format], dice: Random) -> Iterator[Plan]:
    """Each family in clear, disguised, in a name or in halves, and in one more of these."""
    text, name, writing = (
        cycle(dice.sample(every, len(every)))
        for every in ([*PLACES["text"]], [*PLACES["name"]], WRITINGS)
    )
    for number, each in enumerate(chosen):
        is_bare = each.use is Use.ALONE and "\n" not in each.recipe
        yield each, "text", next(text)
        yield each, next(writing), next(text)
        for is_name in (is_bare, is_bare and number % 2):
            yield (each, "text", next(name)) if is_name else (each, next(writing), next(text))


def _script(plan: Sequence[Plan], seed: str) -> Script:
    talk, cases, dice = Talk("office", OWN_TOOLS), list[Case](), Random(seed)
    for number, (form, writing, place) in enumerate(plan):
        talk.add({"text": f"{dice.choice(HONEST)} {dice.choice(HONEST)}"})
        first, own = len(talk.frames), f"{seed} {number}"
        secret = mint(form.name, own)
        is_named = form.use is Use.KEYWORD or place == "env"
        text = DISGUISES[writing](f"{form.field}={secret}" if is_named else secret)
        # A blob's base64 would be a third disguise.
        where = "result" if place == "blob" and writing in TWICE else place
        values = _values(text) | {"number": str(number), "chat": dice.choice(HONEST)}
        for step in (PLACES["text"] | PLACES["name"])[where]:
            talk.add(_fill(step, values))
        numbers = range(first, len(talk.frames))
        cases.append(Case(form, writing, where, random_grams(form.name, own), numbers))
    return Script(talk.frames, cases)


def _values(text: str) -> dict[str, str]:
    middle = len(text) // 2
    thirds = {f"third{number}": part for number, part in enumerate(split(text), 1)}
    halves = {"half1": text[:middle], "half2": text[middle:]}
    return {"text": text, "base64": DISGUISES["base64"](text), **halves, **thirds}


def _fill(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _MARK.sub(lambda mark: values[mark[1]], value)
    if isinstance(value, dict):
        return {_fill(name, values): _fill(member, values) for name, member in value.items()}
    return [_fill(each, values) for each in value] if isinstance(value, list) else value
