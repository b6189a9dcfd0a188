"""What came back from one tool and leaves through another: labels of tools, and taint by value.

A tool is labelled by what its definition says that it does. What comes back from a tool that
reads what is private, or takes in what anybody may have written, is kept for a while, in memory
alone; what then goes to a tool that sends out, runs, keeps or undoes something is looked up in it,
as it is and decoded. Nothing is worked out before it is asked for, so that a result costs nothing
here.

Paraphrase is out of reach, and so is what crosses from one wrapped server to another.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import NamedTuple

from pipeguard.core import traces
from pipeguard.core.finding import Confidence, Severity
from pipeguard.core.labels import ACTS, CHANGES, PRIVATE, SOURCES, Label, Tool
from pipeguard.core.message import JsonValue, parse_json
from pipeguard.core.text import Text
from pipeguard.errors import Refusal

KEPT_BYTES = 4 * 2**20  # of results
KEPT_RESULTS = 1000  # of them
SAID_BYTES = 2**18  # of requests
KEPT_SECONDS = 1800.0
ASKED_BYTES = 2**16  # of arguments that are looked up
MOST_NEEDLES = 64  # looked up for one call
SEARCHED_BYTES = 64 * 2**20  # for one call: about 30 ms
MANY_TOKENS = 3  # that are the same: a list of people, not one that is written to
COVERED_CHARS = 64  # of words that are the same, before private text is said to leave
ORDERED_CHARS = 16  # of words that the same text tells a model to use
RECENT_CALLS = 4  # in which the pieces of a value may leave one after the other


class Leak(NamedTuple):
    """What was seen to leave, for the one who decides.

    Attributes:
        rule: the id of the rule, as `flows.secret-out`.
        severity: how bad that is.
        confidence: how sure.
        source: the tool that it came from.
        note: what was seen, without any of it.
    """

    rule: str
    severity: Severity
    confidence: Confidence
    source: str
    note: str


class _Kept:
    """A frame that passed, as bytes until somebody asks for its text."""

    __slots__ = ("_addressed", "_secrets", "_small", "_text", "frame", "labels", "since", "tool")

    def __init__(self, tool: Tool, frame: bytes, since: float) -> None:
        self.tool = tool
        self.labels: int = tool.labels.value
        self.frame = frame
        self.since = since
        self._text: str | None = None
        self._small: str | None = None
        self._addressed: str | None = None
        self._secrets: dict[str, str] | None = None

    def text(self) -> str:
        """Its strings, with single spaces between all words."""
        if self._text is None:
            self._text = _text_of(self.frame)
        return self._text

    def small(self) -> str:
        """The same in small letters."""
        if self._small is None:
            self._small = self.text().lower()
        return self._small

    def addressed(self) -> str:
        """What in it is written for a model, in small letters; empty where nothing is."""
        if self._addressed is None:
            takes_in = self.tool.labels & Label.TAKES_IN
            self._addressed = traces.addressed(self.text()).lower() if takes_in else ""
        return self._addressed

    def looks(self) -> Callable[[str], bool]:
        """What tells that a value of it is a secret."""
        if self.tool.labels & Label.READS_SECRET:
            return traces.is_secret
        return traces.is_random

    def secrets(self) -> dict[str, str]:
        """What looks like a secret in it, by its letters and digits alone."""
        if self._secrets is None:
            self._secrets = traces.secrets(self.text(), self.looks())
        return self._secrets


class Flows:
    """What went through one server lately.

    One thread may call `came`, and one the rest.
    """

    def __init__(self) -> None:
        self._lock = Lock()  # of what came
        self._came: deque[_Kept] = deque()
        self._came_bytes = 0
        # Bytes alone: thousands of objects that live would be walked by each garbage collection.
        self._went: deque[bytes] = deque()
        self._went_bytes = 0
        self._said: deque[str] = deque()  # the texts of what went, as far as they were asked for
        self._said_chars = 0
        self._sent: deque[str] = deque(maxlen=RECENT_CALLS)  # squeezed, to tools that send

    def came(self, tool: Tool, frame: bytes, now: float) -> None:
        """Keep a result of a tool that reads or takes in.

        Args:
            tool: that was called.
            frame: the whole answer.
            now: seconds on the session's clock.
        """
        if not tool.is_source or len(frame) > KEPT_BYTES:
            return
        with self._lock:
            self._came.append(_Kept(tool, frame, now))
            self._came_bytes += len(frame)
            while (
                len(self._came) > KEPT_RESULTS
                or self._came_bytes > KEPT_BYTES
                or now - self._came[0].since > KEPT_SECONDS
            ):
                self._came_bytes -= len(self._came.popleft().frame)

    def went(self, frame: bytes) -> None:
        """Keep a request that went on: what stands in it came from the client's side."""
        self._went.append(frame)
        self._went_bytes += len(frame)
        while self._went_bytes > SAID_BYTES:
            self._went_bytes -= len(self._went.popleft())

    def leaks(self, tool: Tool, arguments: JsonValue) -> list[Leak]:
        """Look up what goes to a tool in what came back before.

        Args:
            tool: that is called.
            arguments: of the call.
        """
        if not tool.is_sink:
            return []
        bare = _without_credentials(arguments)
        found = self._looked_up(tool, bare)
        if not found and bare != arguments and tool.labels & Label.OUTSIDE:
            # Where a credential belongs it may go, but an address can be anybody's.
            used = self._looked_up(tool, arguments)
            found = [leak._replace(confidence=Confidence.MEDIUM) for leak in used]
        return found

    def _looked_up(self, tool: Tool, arguments: JsonValue) -> list[Leak]:
        wanted = (SOURCES if tool.labels & Label.SENDS else Label.TAKES_IN).value
        with self._lock:
            kept = [one for one in self._came if one.labels & wanted and one.tool.name != tool.name]
        if not kept:
            return []
        text = Text(arguments, keyed=False).data[:ASKED_BYTES]
        if tool.labels & Label.WRITES:
            if not _OBEYED.search(text):
                return []
            tool = tool._replace(labels=tool.labels | Label.KEEPS)
        call = _Call(tool, text, self._sent_before(), "".join(self._sent))
        if tool.labels & Label.SENDS:
            self._sent.append(call.squeezed[0][-ASKED_BYTES:])
        return list(_leaks(call, kept))

    def _sent_before(self) -> str:
        while self._went:
            self._said.append(_text_of(self._went.popleft()))
            self._said_chars += len(self._said[-1])
        self._went_bytes = 0
        while self._said_chars > SAID_BYTES:
            self._said_chars -= len(self._said.popleft())
        return "\n".join(self._said)


def _without_credentials(value: JsonValue) -> JsonValue:
    """The arguments without those that are made for a credential."""
    if isinstance(value, dict):
        return {
            key: _without_credentials(item)
            for key, item in value.items()
            if not _CREDENTIAL.fullmatch(key)
        }
    return [_without_credentials(item) for item in value] if isinstance(value, list) else value


_CREDENTIAL = re.compile(
    r"(?:\w{1,30}[_-])?(?:password|passwd|passphrase|pwd|secret|token|api_?key|apikey|dsn|authorization|"
    r"auth|credentials?|private_key|x-api-key|connection_string)",
    re.IGNORECASE,
)
# Files that models read before all else.
_OBEYED = re.compile(
    rb"(?:CLAUDE|AGENTS?|GEMINI|MEMORY|SOUL)\.md|\.cursorrules|\.cursor/rules|\.windsurfrules|"
    rb"copilot-instructions|\.clinerules|/memory/|\.mdc\b"
)


def _text_of(frame: bytes) -> str:
    """The strings of a frame, with single spaces between all words."""
    try:
        value = parse_json(frame)
    except Refusal:
        return ""
    return " ".join(Text(value, keyed=False).data.decode("utf-8", "ignore").split())


class _Call:
    """What goes to a tool, in all its readings."""

    def __init__(self, tool: Tool, text: bytes, known: str, before: str) -> None:
        self.tool = tool
        self.known = known  # what the client said before is its own
        self.readings = traces.readings(text)
        self.squeezed = list(map(traces.squeezed, self.readings))
        self.torn = before + self.squeezed[0]
        self.whole = "\n".join(dict.fromkeys([*self.squeezed, self.torn]))
        small = [" ".join(reading.lower().split()) for reading in self.readings]
        self.plain = self._new(traces.shingles(small[0]))
        inner = (one for text in small[1:] for one in traces.shingles(text))
        self.encoded = self._new(one for one in inner if one not in small[0])
        self.few = self._new(traces.shingles(small[0], traces.FEW_WORDS))
        self.names = self._new(traces.names(small[0]))
        tokens = (one for text in self.readings for one in traces.tokens(text))
        self.tokens = self._new(filter(traces.is_telling, tokens))

    def _new(self, found: Iterable[str]) -> list[str]:
        """Each once, without what was said before; no more than are looked up."""
        ordered = list(dict.fromkeys(found))
        step = len(ordered) // MOST_NEEDLES + 1
        return [one for one in ordered[::step] if one not in self.known]


def _leaks(call: _Call, kept: list[_Kept]) -> Iterator[Leak]:
    left = SEARCHED_BYTES
    needles = len(call.tokens) + len(call.plain) + len(call.encoded) + len(call.names) + 1
    is_told = any(one.addressed() for one in kept)  # somebody wrote for the model before
    for one in reversed(kept):
        left -= len(one.text()) * needles
        if left < 0:
            return
        labels, source = call.tool.labels, one.tool.labels
        if labels & Label.SENDS and source & PRIVATE:
            yield from _private(call, one, is_told=is_told)
        if labels & (CHANGES | Label.SENDS) and one.addressed():
            yield from _ordered(call, one)
        elif labels & ACTS and source & Label.TAKES_IN:
            covered = sum(len(row) for row in call.plain if row in one.small())
            if covered >= COVERED_CHARS // 2:
                note = (
                    f"text from {one.tool.name!r}, which anybody may have written, is run or kept"
                )
                yield Leak(
                    "flows.untrusted-acts", Severity.HIGH, Confidence.MEDIUM, one.tool.name, note
                )


def _private(call: _Call, one: _Kept, *, is_told: bool) -> Iterator[Leak]:
    """What was read for the user alone, and leaves."""
    source, labels, name = one.tool.labels, call.tool.labels, one.tool.name
    like, is_named = _secrets(call, one)
    if like or is_named:
        known = is_named or bool(source & Label.READS_SECRET)
        note = f"a value that came back from {name!r} leaves through this call"
        confidence = Confidence.HIGH if known else Confidence.MEDIUM
        yield Leak("flows.secret-out", Severity.CRITICAL, confidence, name, note)
        return
    if not source & (Label.READS_PRIVATE | Label.READS_SECRET):
        return
    small = one.small()
    shared = [token for token in call.tokens if token.lower() in small]
    hidden = sum(len(row) for row in call.encoded if row in small)
    covered = hidden + sum(len(row) for row in call.plain if row in small)
    if len(shared) >= MANY_TOKENS:
        covered += sum(map(len, shared))
        hidden += sum(len(token) for token in shared if token not in call.readings[0])
    is_meant = bool(labels & Label.OUTSIDE and source & Label.READS_PERSONAL)
    is_list = is_meant and len(shared) >= MANY_TOKENS
    if not labels & Label.OUTSIDE and not source & Label.READS_PERSONAL and not is_told:
        covered = hidden  # a file that is quoted where it belongs
    if covered < COVERED_CHARS and hidden < COVERED_CHARS // 2 and not is_list:
        return
    sure = is_meant or hidden >= COVERED_CHARS // 2 or is_told
    note = f"text that came back from {name!r} leaves through this call"
    confidence = Confidence.HIGH if sure else Confidence.MEDIUM
    yield Leak("flows.private-out", Severity.HIGH, confidence, name, note)


def _secrets(call: _Call, one: _Kept) -> tuple[bool, bool]:
    """Whether a secret leaves: one that looks it, and one that was called so where it came from."""
    text = one.text()
    like = any(token in text for token in call.tokens if one.looks()(token))
    known = traces.squeezed(call.known) if one.secrets() else ""
    for bare in one.secrets():
        if like:
            break
        if bare not in known:
            like = bare in call.whole or bare[::-1] in call.whole
            like = like or traces.in_pieces(bare, call.torn)
    named = (value for value in traces.named(text) if value not in call.known)
    return like, any(value in reading for value in named for reading in call.readings)


def _ordered(call: _Call, one: _Kept) -> Iterator[Leak]:
    """What a text told a model to do, and is done."""
    told = one.addressed()
    does = any(name in told for name in call.names)
    does = does or sum(len(row) for row in call.few if row in told) >= ORDERED_CHARS
    if call.tool.labels & Label.GUARDS and not does:
        does = any(word in told for word in traces.words(call.readings[0]))
    if does:
        note = f"{one.tool.name!r} gave a text that tells a model to do this"
        yield Leak("flows.untrusted-acts", Severity.HIGH, Confidence.HIGH, one.tool.name, note)
