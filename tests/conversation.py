"""Plays a conversation written in YAML through a real Session, with the rules that ship.

A file has the messages of each side and what the other side saw. Its members::

    source      a page of the specification with its revision, or `ours`; required
    row         numbers of rows of tests/conversations/rows.yaml that it stands for
    policy      a user's policy file; `project` a project's on top of it; `trust` for short
    pins        by tool name, or `prompt/NAME` and so on: a description, or a whole definition
    revision    plays the handshake of it first, with the capabilities in `client` and `server`
    steps       `client` or `server` with a message, and what was seen of it

A message is JSON (`jsonrpc` is added, a list is a batch) or `{raw: text}`, `{hex: bytes}` or
`{parts: [...]}` of these, which may have `fed: n` (bytes at a time) and `ends: true` (no newline
follows, the stream ends). Within a message stand for a string: `{gen: recipe}` (rulebook.samples),
`{repeat: text, times: n}`, `{join: [...]}`, `{encode: base64, text: ...}`; and for a list `{items:
template, times: n}`, with `#` for the item's number; and for an object of so many members
`{numbered: n}`. A key may be a sample too: `gen:recipe`.

What a side saw is `same` (the very frame), `nothing` (the default), or JSON whose objects may have
more members, in which `{has: text}`, `{lacks: text}`, `{exactly: value}` and `absent: [key]` say
more. `finding` names the rules that saw something; without it none may. Further: `place`, `action`,
`frames` (how many the bytes are), `at` (seconds on the clock), and the steps `gone: server`,
`expire: true`, `relist: [kind]`, `approve: [name]`.
"""

import base64
import datetime
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import quote

import yaml

from pipeguard import Engines, Session, make_guard
from pipeguard.config.effective_policy import combine_sources
from pipeguard.config.policy_file import PolicyScope, parse_policy
from pipeguard.firewall.finding import Action, Direction, MessageKind, Verdict
from pipeguard.firewall.pins.fingerprint import Pin, canonical, fingerprint
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.framing import LineFrames
from pipeguard.firewall.protocol.ids import write_id
from pipeguard.firewall.protocol.json_values import Number
from pipeguard.firewall.protocol.message import parse
from pipeguard.firewall.session.events import Frame, PinsChanged
from pipeguard.firewall.session.guard import Guard, PinKey
from pipeguard.firewall.session.own_frames import ListsChanged, ServerGone, Tick
from pipeguard.firewall.session.session import Event
from pipeguard.rulebook.samples import expand
from pipeguard.transports.pump import take_event
from tests.fuzz.rulebook import engines

FOLDER = Path(__file__).parent / "conversations"
SERVER = "demo"  # the name of the guarded server
SEED = 7  # of every sample, so that the same recipe is the same secret throughout a file
TODAY = datetime.date(2026, 9, 1)
KINDS = ("tool", "prompt", "resource", "template", "server")
MODERN = "2026-07-28"  # without a handshake

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Object = dict[str, Json]
Sent = tuple[Direction, bytes]

_SOURCE = re.compile(r"ours|\d{4}-\d\d-\d\d [a-z]+(/[a-z]+)*(, [a-z]+(/[a-z]+)*)*")
_SIDES = {"client": Direction.TO_SERVER, "server": Direction.TO_CLIENT}
_MEMBERS = {
    *("source", "row", "policy", "project", "trust", "pins"),
    *("revision", "client", "server", "steps"),
}
_STEP_MEMBERS = {
    *("client", "server", "gone", "expire", "relist", "approve", "at", "frames"),
    *("server_sees", "client_sees", "finding", "place", "action"),
}


class _Loader(yaml.SafeLoader):
    """YAML in which a revision is a string and not a date."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True)
class Conversation:
    """One file, read.

    Attributes:
        name: the file's, a sentence.
        rows: of hostile input that it stands for.
        revision: whose handshake it begins with, or None.
        members: all of the file.
    """

    name: str
    rows: tuple[int, ...]
    revision: str | None
    members: Object

    @property
    def steps(self) -> list[Object]:
        """Return the steps, the handshake first."""
        steps = self.members["steps"]
        assert isinstance(steps, list), "steps: a list"
        opening = _opening(self) if self.revision not in (None, MODERN) else []
        return [*opening, *(_object(step) for step in steps)]


@dataclass(slots=True)
class Played:
    """A conversation that went as its file says.

    Attributes:
        conversation: the file.
        verdicts: of all frames in order.
    """

    conversation: Conversation
    verdicts: list[Verdict] = field(default_factory=list)


def paths() -> list[Path]:
    """List every conversation."""
    return sorted(FOLDER.glob("*/*.yaml"))


@cache
def load(path: Path) -> Conversation:
    """Read a conversation; an unknown member is an error."""
    members = _object(yaml.load(path.read_text(encoding="utf-8"), _Loader))  # noqa: S506  a SafeLoader
    unknown = members.keys() - _MEMBERS
    assert not unknown, f"unknown: {unknown}"
    source = members.get("source")
    assert isinstance(source, str), "source: a page, or ours"
    assert _SOURCE.fullmatch(source), f"source: a page as `2025-06-18 server/tools`, not {source}"
    row = members.get("row", [])
    rows = tuple(int(str(number)) for number in (row if isinstance(row, list) else [row]))
    revision = members.get("revision")
    return Conversation(path.stem, rows, None if revision is None else str(revision), members)


@cache
def play(path: Path) -> Played:
    """Play a conversation, and check its file's expectations and the invariants."""
    return play_conversation(load(path))


def play_conversation(
    conversation: Conversation, prepare: Callable[[Session], object] = lambda _: None
) -> Played:
    """Play it as `play` does, with a session that is prepared first."""
    played = _Play(conversation)
    prepare(played.session)
    played.run()
    played.end()
    return Played(conversation, played.verdicts)


class _Play:
    """One run of a conversation."""

    def __init__(self, conversation: Conversation) -> None:
        self.steps = conversation.steps
        self.guard = _guard(conversation.members, engines())
        self.session = Session(self.guard, "RUN")
        limit_bytes = self.guard.policy.limits.frame_bytes
        self.lines = {direction: LineFrames(limit_bytes) for direction in Direction}
        self.verdicts: list[Verdict] = []
        self.secrets: list[str] = []
        self.ledger = _Ledger()
        self.now = 0.0

    def run(self) -> None:
        for number, step in enumerate(self.steps):
            try:
                self._step(step)
            except AssertionError as error:
                shown = json.dumps(step, ensure_ascii=False)
                raise AssertionError(f"step {number}, {shown[:300]}: {error}") from error

    def end(self) -> None:
        """Check the invariants at the end: each request has one answer, or waits for it."""
        self.ledger.check(self.session)
        waiting = self.session.state.pending[Direction.TO_SERVER].all()
        asking = self.session.state.pending[Direction.TO_CLIENT].all()
        frames = [json.loads(frame, parse_int=Number) for frame in self._own(ServerGone(self.now))]
        errors, cancellations = frames[: len(waiting)], frames[len(waiting) :]
        assert [write_id(f["id"]) for f in errors] == [r.id_token for r in waiting]
        assert {f["error"]["code"] for f in errors} <= {str(codes.PEER_GONE)}
        ended = [write_id(f["params"]["requestId"]) for f in cancellations]
        assert ended == [r.id_token for r in asking]
        assert self._own(ServerGone(self.now)) == [], "answered twice at the end"

    def _step(self, step: Object) -> None:
        unknown = step.keys() - _STEP_MEMBERS
        assert not unknown, f"unknown: {unknown}"
        at = step.get("at", self.now)
        assert isinstance(at, int | float)
        self.now = float(at)
        side = next((side for side in _SIDES if side in step), None)
        if side is not None:
            self._frames(step, _SIDES[side], step[side])
        elif "approve" in step:
            self._approve(step["approve"])
        else:
            self._ours(step)

    def _frames(self, step: Object, direction: Direction, spec: Json) -> None:
        frames = list(self._split(direction, spec))
        verdicts = []
        for frame in frames:
            verdict = take_event(self.session, Frame(direction, frame, self.now))
            assert verdict.frame is frame, "the verdict is of another frame"
            self.ledger.note(verdict)
            verdicts.append(verdict)
        self.verdicts += verdicts
        assert len(verdicts) == step.get("frames", 1), f"{len(verdicts)} frames"
        for index, verdict in enumerate(verdicts):
            self._always(verdict)
            self._as_said(step, verdict, index if len(verdicts) > 1 else None)

    def _split(self, direction: Direction, spec: Json) -> Iterator[bytes]:
        frame, fed, ends = self._written(spec)
        lines = self.lines[direction]
        data = frame if ends else frame + b"\n"
        for start in range(0, len(data), fed or len(data)):
            yield from lines.feed(data[start : start + (fed or len(data))])
        if ends:
            yield from lines.end()

    def _written(self, spec: Json) -> tuple[bytes, int, bool]:
        if isinstance(spec, dict) and spec.keys() & {"raw", "hex", "parts"}:
            fed, ends = spec.get("fed", 0), spec.get("ends", False)
            assert isinstance(fed, int)
            assert isinstance(ends, bool)
            return self._bytes(spec), fed, ends
        made = self._made(spec)
        if isinstance(made, list):
            return _compact([{"jsonrpc": "2.0", **_object(member)} for member in made]), 0, False
        return _compact({"jsonrpc": "2.0", **_object(made)}), 0, False

    def _bytes(self, spec: Json) -> bytes:
        if isinstance(spec, dict) and "parts" in spec:
            parts = spec["parts"]
            assert isinstance(parts, list)
            return b"".join(map(self._bytes, parts))
        if isinstance(spec, dict) and "hex" in spec:
            return bytes.fromhex(str(spec["hex"]))
        raw = self._made(spec["raw"] if isinstance(spec, dict) and "raw" in spec else spec)
        assert isinstance(raw, str), "raw: a string"
        return raw.encode("utf-8")

    def _made(self, value: Json) -> Json:
        """Expand a value's samples, repeats and encodings."""
        if isinstance(value, list):
            return [self._made(item) for item in value]
        if not isinstance(value, dict):
            return value
        keys = value.keys()
        if keys == {"gen"}:
            made = expand({"gen": str(value["gen"])}, SEED)
            self.secrets.append(made)
            return made
        if keys == {"repeat", "times"}:
            return str(self._made(value["repeat"])) * int(str(value["times"]))
        if keys == {"join"}:
            parts = value["join"]
            assert isinstance(parts, list)
            return "".join(str(self._made(part)) for part in parts)
        if keys == {"encode", "text"}:
            return _ENCODINGS[str(value["encode"])](str(self._made(value["text"])))
        if keys == {"numbered"}:
            return {f"k{index}": index for index in range(int(str(value["numbered"])))}
        if keys == {"items", "times"}:
            count = int(str(value["times"]))
            return [_numbered(self._made(value["items"]), index) for index in range(count)]
        return {self._key(key): self._made(item) for key, item in value.items()}

    def _key(self, key: str) -> str:
        """A key may be a sample too: `gen:recipe`."""
        return str(self._made({"gen": key[4:]})) if key.startswith("gen:") else key

    def _as_said(self, step: Object, verdict: Verdict, index: int | None) -> None:
        rules = {finding.rule for finding in verdict.findings}
        to_server = verdict.direction is Direction.TO_SERVER
        forward, back = ("server_sees", "client_sees")[:: 1 if to_server else -1]
        wanted = _nth(step.get("finding"), index) or []
        told = f"findings: {[(f.rule, f.place, f.note) for f in verdict.findings]}"
        for rule in wanted if isinstance(wanted, list) else [wanted]:
            assert rule in rules, f"{rule} is missing; {told}"
        assert bool(rules) == bool(wanted), told
        self._seen(forward, _nth(step.get(forward), index), verdict.forward, verdict.frame)
        self._seen(back, _nth(step.get(back), index), verdict.reply, None)
        if "place" in step:
            places = {finding.place for finding in verdict.findings}
            assert step["place"] in places, f"places: {sorted(places)}"
        if "action" in step:
            assert verdict.action.name.lower() == step["action"], f"it is {verdict.action.name}"

    def _seen(self, side: str, wanted: Json, seen: bytes | None, frame: bytes | None) -> None:
        if wanted is None or wanted == "nothing":
            assert seen is None, f"{side}: {seen!r:.600}"
        elif wanted == "same":
            assert seen is frame, f"{side}: not the same, but {seen!r:.600}"
        else:
            assert seen is not None, f"{side}: nothing"
            _differs(_envelope(self._made(wanted)), json.loads(seen), side)

    def _always(self, verdict: Verdict) -> None:
        """Check the invariants of every verdict."""
        actions = [finding.action for finding in verdict.findings]
        assert verdict.action == max(actions, default=Action.ALLOW)
        if verdict.action is Action.ALLOW and verdict.forward is not verdict.frame:
            answers_nothing = verdict.forward is None and verdict.kind is not MessageKind.REQUEST
            assert answers_nothing or _is_respelt(verdict), "allowed, and yet not the same"
        for ours in (verdict.reply, verdict.forward):
            if ours is not None and ours is not verdict.frame:
                parse(ours)  # strict JSON, and a message
            assert ours is None or len(ours.decode().splitlines()) == 1, "more than one line"
        told = [finding.excerpt + finding.note for finding in verdict.findings]
        told += [str({**reply, "id": None}) for reply in _messages(verdict.reply)]
        for secret in self.secrets:
            assert not any(secret in text for text in told), "a secret stands in what we tell"

    def _approve(self, names: Json) -> None:
        """Approve pending definitions as a person; give the store's new pins to the guard."""
        assert isinstance(names, list)
        pins = dict(self.guard.pins.all())
        for key, pin in self.guard.pins.all().items():
            if pin.name in names:
                assert pin.held_definition is not None, f"{pin.name} does not wait"
                pins[key] = Pin(*key, pin.held_definition, pin.held_fingerprint, None, None, "")
                names = [name for name in names if name != pin.name]
        assert names == [], f"nobody knows {names}"
        take_event(self.session, PinsChanged(pins, self.now))

    def _own(self, event: Event) -> list[bytes]:
        return [own.frame for own in take_event(self.session, event).own]

    def _ours(self, step: Object) -> None:
        """Check the messages that PipeGuard sends of its own accord."""
        if "gone" in step:
            frames = self._own(ServerGone(self.now))
        elif "expire" in step:
            frames = self._own(Tick(self.now))
        else:
            kinds = step["relist"]
            assert isinstance(kinds, list)
            frames = self._own(ListsChanged(frozenset(map(str, kinds)), self.now))
        self.ledger.sent(Direction.TO_CLIENT, frames)
        wanted = step.get("client_sees", [])
        assert isinstance(wanted, list)
        seen = [json.loads(frame) for frame in frames]
        _differs([_envelope(item) for item in wanted], seen, "client_sees")


def _is_respelt(verdict: Verdict) -> bool:
    """True if the same JSON is forwarded, in one line, or with the id as its request spells it."""
    if verdict.forward is None:
        return False
    came, went = json.loads(verdict.frame), json.loads(verdict.forward)
    if isinstance(came, dict) and came.get("method") == "notifications/progress":
        read, sent = (each["params"] for each in (came, went))
        token = sent["progressToken"]
        if str(read["progressToken"]) == str(token):
            return bool({**came, "params": {**read, "progressToken": token}} == went)
    if isinstance(came, dict) and "method" not in came and came.get("id") != went["id"]:
        return bool({**came, "id": went["id"]} == went and str(came["id"]) == str(went["id"]))
    return bool(came == went)


class _Ledger:
    """Requests and answers of each side, counted independently of the Session."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[Direction, str]] = Counter()
        self.answered: Counter[tuple[Direction, str]] = Counter()
        self.given_up: Counter[tuple[Direction, str]] = Counter()

    def note(self, verdict: Verdict) -> None:
        there = verdict.direction
        back = _SIDES["server"] if there is _SIDES["client"] else _SIDES["client"]
        refused_whole = verdict.forward is None and not (verdict.reply or b"").startswith(b"[")
        if refused_whole and verdict.frame.startswith(b"["):
            return  # a batch refused as a whole is no request, and none of its ids are certain
        asked = Counter(
            token
            for message in _messages(verdict.frame)
            if "method" in message and (token := write_id(message.get("id"))) is not None  # type: ignore[arg-type]  # JSON all the same
        )
        for token, times in asked.items():  # of a refused batch an id is answered once
            self.asked[there, token] += 1 if verdict.forward is None else times
        for message in _messages(verdict.forward):
            if message.get("method") == "notifications/cancelled":
                cancelled = write_id(message["params"].get("requestId"))  # type: ignore[union-attr,arg-type]
                if cancelled is not None:
                    self.given_up[there, cancelled] += 1
            self._answer(back, message)
        for message in _messages(verdict.reply):
            token = self._answer(there, message)
            if token is not None and token not in asked:
                self.asked[there, token] += 1  # of a frame that nobody can read for certain

    def sent(self, to: Direction, frames: list[bytes]) -> None:
        asker = _SIDES["client"] if to is Direction.TO_CLIENT else _SIDES["server"]
        other = _SIDES["server"] if to is Direction.TO_CLIENT else _SIDES["client"]
        for frame in frames:
            for message in _messages(frame):
                if message.get("method") == "notifications/cancelled":
                    token = write_id(message["params"]["requestId"])  # type: ignore[call-overload,index,arg-type]
                    self.given_up[other, str(token)] += 1
                self._answer(asker, message)

    def check(self, session: Session) -> None:
        for direction, token in self.asked.keys() | self.answered.keys():
            asked = self.asked[direction, token]
            answered = self.answered[direction, token]
            waits = [r.id_token for r in session.state.pending[direction].all()].count(token)
            given_up = self.given_up[direction, token]
            assert answered + waits + given_up == asked, (
                f"{direction.value} {token}: asked {asked}, answered {answered}, waits {waits},"
                f" given up {given_up}"
            )

    def _answer(self, asker: Direction, message: Object) -> str | None:
        token = write_id(message.get("id"))  # type: ignore[arg-type]
        if token is not None and "method" not in message:
            self.answered[asker, token] += 1
        return token


class _TwiceError(ValueError):
    """An object has the same key twice."""


def _pairs(pairs: list[tuple[str, Json]]) -> Object:
    if len(dict(pairs)) != len(pairs):
        raise _TwiceError
    return dict(pairs)


def _no_json(word: str) -> Json:
    raise ValueError(word)


def _messages(frame: bytes | None) -> Iterator[Object]:
    """Yield the messages of a frame, as another parser reads them; none if it cannot."""
    try:
        read = json.loads(
            (frame or b"").decode(),
            object_pairs_hook=_pairs,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_no_json,
        )
    except (ValueError, RecursionError):
        return
    for message in read if isinstance(read, list) else [read]:
        if isinstance(message, dict):
            yield message


def _guard(members: Mapping[str, Json], compiled: Engines) -> Guard:
    policy = dict(_object(members.get("policy") or {}))
    if "trust" in members:
        policy["trust"] = members["trust"]
    said = (policy, PolicyScope.USER), (members.get("project"), PolicyScope.PROJECT)
    files = {
        scope: parse_policy(yaml.safe_dump(text), scope.value, scope, today=TODAY)
        for text, scope in said
        if text
    }
    pins = dict(_pins(_object(members.get("pins") or {})))
    return make_guard(SERVER, compiled, combine_sources(files), pins)


def _pins(pins: Object) -> Iterator[tuple[PinKey, Pin]]:
    for key, words in pins.items():
        kind, _, name = key.partition("/")
        if kind not in KINDS or not name:
            kind, name = "tool", key
        definition: Json = {"name": name, "description": words}
        if isinstance(words, dict) or kind == "server":
            definition = words if isinstance(words, dict) else {"instructions": words}
        text = canonical(definition).decode()
        yield (kind, name), Pin(kind, name, text, fingerprint(definition), None, None, "")


def _opening(conversation: Conversation) -> list[Object]:
    revision = conversation.revision
    client = conversation.members.get("client", {})
    server = conversation.members.get("server", {})
    ours: Json = {"name": "agent", "version": "1.0"}
    asked: Json = {"protocolVersion": revision, "capabilities": client, "clientInfo": ours}
    opening: Json = {"id": "opening", "method": "initialize", "params": asked}
    agreed: Json = {"protocolVersion": revision, "capabilities": server, "serverInfo": ours}
    return [
        {"client": opening, "server_sees": "same"},
        {"server": {"id": "opening", "result": agreed}, "client_sees": "same"},
        {"client": {"method": "notifications/initialized"}, "server_sees": "same"},
    ]


def _differs(wanted: Json, seen: Json, at: str) -> None:
    """Fail if the result differs from the expected one; objects may have more members."""
    if isinstance(wanted, dict) and len(wanted) == 1:
        word, value = next(iter(wanted.items()))
        if word == "exactly":
            assert seen == value, f"{at}: {seen!r} is not exactly {value!r}"
            return
        if word in ("has", "lacks"):
            text = seen if isinstance(seen, str) else json.dumps(seen, ensure_ascii=False)
            assert (str(value) in text) is (word == "has"), f"{at}: {text[:600]!r} {word} {value!r}"
            return
    if isinstance(wanted, dict):
        assert isinstance(seen, dict), f"{at}: {seen!r} is no object"
        for key, value in wanted.items():
            if key == "absent" and isinstance(value, list):
                assert not seen.keys() & set(map(str, value)), f"{at}: {sorted(seen)}"
                continue
            assert key in seen, f"{at}: no {key} in {str(seen)[:600]}"
            _differs(value, seen[key], f"{at}.{key}")
    elif isinstance(wanted, list):
        assert isinstance(seen, list), f"{at}: {seen!r} is no list"
        assert len(seen) == len(wanted), f"{at}: {len(seen)} of them: {str(seen)[:600]}"
        for index, (one, other) in enumerate(zip(wanted, seen, strict=True)):
            _differs(one, other, f"{at}[{index}]")
    else:
        same = type(seen) is type(wanted) and seen == wanted
        assert same, f"{at}: {str(seen)[:600]!r} is not {wanted!r}"


def _envelope(wanted: Json) -> Json:
    if isinstance(wanted, list):
        return [_envelope(item) for item in wanted]
    if isinstance(wanted, dict) and not wanted.keys() <= {"has", "lacks", "exactly"}:
        return {"jsonrpc": "2.0", **wanted}
    return wanted


def _nth(wanted: Json, index: int | None) -> Json:
    """Return the expectation of one of several frames, if a list has one for each."""
    return wanted[index] if index is not None and isinstance(wanted, list) else wanted


def _numbered(value: Json, index: int) -> Json:
    if isinstance(value, str):
        return value.replace("#", str(index))
    if isinstance(value, list):
        return [_numbered(item, index) for item in value]
    if isinstance(value, dict):
        return {key.replace("#", str(index)): _numbered(i, index) for key, i in value.items()}
    return value


def _object(value: object) -> Object:
    assert isinstance(value, dict), f"an object, not {value!r}"
    return value


def _compact(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


_ENCODINGS: Mapping[str, Callable[[str], str]] = {
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "hex": lambda text: text.encode().hex(),
    "percent": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "quote": lambda text: quote(text, safe=""),
    "spaced": " ".join,
    "zero-width": "\u200b".join,
    "tags": lambda text: "".join(chr(0xE0000 + ord(letter)) for letter in text),
    "fullwidth": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
}
