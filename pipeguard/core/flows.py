"""What came back from one tool and leaves through another: labels of tools, and taint by value.

A tool is labelled by what its definition says that it does. What comes back from a tool that
reads what is private, or takes in what anybody may have written, is kept for a while, in memory
alone; what then goes to a tool that sends out, runs or keeps something is looked up in it, as it
is and decoded. Nothing is worked out before it is asked for, so that a result costs nothing here.

Paraphrase is out of reach, and so is what crosses from one wrapped server to another.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from enum import Flag, auto
from threading import Lock
from typing import NamedTuple

from pipeguard.core import views
from pipeguard.core.checks import entropy
from pipeguard.core.cues import Cue
from pipeguard.core.decoding import Budget
from pipeguard.core.finding import Confidence, Severity
from pipeguard.core.message import JsonObject, JsonValue, parse_json
from pipeguard.core.text import Text
from pipeguard.errors import Refusal

KEPT_BYTES = 4 * 2**20  # of results
SAID_BYTES = 2**18  # of requests
KEPT_SECONDS = 1800.0
ASKED_BYTES = 2**16  # of arguments that are looked up
MOST_NEEDLES = 64  # looked up for one call
SEARCHED_BYTES = 64 * 2**20  # for one call: about 30 ms
TOKEN_CHARS = 12  # shorter ones stand in two places by chance
SECRET_ENTROPY = 3.0  # bits a character
SHINGLE_WORDS = 6  # in a row, the same in both
MANY_TOKENS = 3  # that are the same: a list of people, not one that is written to
COVERED_CHARS = 64  # of words that are the same, before private text is said to leave


class Label(Flag):
    """What a tool does, as far as its definition tells."""

    NONE = 0
    READS_PRIVATE = auto()
    READS_SECRET = auto()
    TAKES_IN = auto()  # what third parties may have written
    SENDS = auto()  # to somewhere outside
    RUNS = auto()
    KEEPS = auto()  # what later sessions will read


SOURCES = Label.READS_PRIVATE | Label.READS_SECRET | Label.TAKES_IN
ACTS = Label.RUNS | Label.KEEPS
SINKS = Label.SENDS | ACTS


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_READ = _words("read get list search query export find show view open select dump lookup load cat")
_PRIVATE = _words(
    "file files mail mails email emails inbox message messages thread threads database db table"
    " tables row rows record records customer customers contact contacts crm calendar event events"
    " drive document documents clipboard note notes patient patients payroll invoice invoices"
    " account accounts employee employees repo repository history memory memories private personal"
    " internal chat chats session login address book salary medical health company"
)
_SECRET = _words(
    "secret secrets env environment vault keychain keyring credential credentials password"
    " passwords token tokens dotenv"
)
_FETCH = _words("fetch browse scrape crawl web url page website browser rss feed")
_NETWORK = _words("dns resolve ping whois lookup http request curl")
_OTHERS = _words(
    "issue issues comment comments review reviews ticket tickets pull inbox mail email"
)
_SEND = _words(
    "send post publish upload share webhook tweet notify submit forward push comment reply email"
    " mail pastebin paste gist broadcast"
)
_RUN = _words("run exec execute shell eval bash terminal command cmd script powershell python")
_KEEP = _words("remember memory memorize cron schedule crontab persist")
_WRITE = _words("write save add create store append set update put edit")
_TO = _words("to recipient recipients url endpoint webhook channel bcc cc host destination address")
_BODY = _words("body content text message data payload file attachment attachments json html query")
_CODE = _words("command cmd code script shell sql")
_ASKED = _words("url uri host hostname domain query endpoint address")  # goes out with a request

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def labels_of(name: str, definition: JsonObject | None) -> Label:
    """Tell what a tool does by its name, the first sentence about it and its parameters.

    Args:
        name: the tool's.
        definition: as `tools/list` gives it (MCP server/tools), or None where it was not listed.
    """
    called = _split(name)
    said = called
    parameters: frozenset[str] = frozenset()
    if definition is not None:
        description = definition.get("description")
        if isinstance(description, str):
            said = called | _split(description.partition(".")[0][:200])
        schema = definition.get("inputSchema")
        properties = schema.get("properties") if isinstance(schema, dict) else None
        if isinstance(properties, dict):
            parameters = frozenset().union(*map(_split, properties)) if properties else parameters
    found = Label.NONE
    if called & _READ and said & _PRIVATE:
        found |= Label.READS_PRIVATE
    if said & _SECRET and called & (_READ | _SECRET):
        found |= Label.READS_SECRET
    if (
        called & _FETCH
        or (called & _NETWORK and not called & _SEND)
        or (called & _READ and said & (_FETCH | _OTHERS))
    ):
        found |= Label.TAKES_IN
    asks = found & Label.TAKES_IN or called & _NETWORK
    if called & _SEND or (parameters & _TO and parameters & _BODY and not called & _READ):
        found |= Label.SENDS
    elif asks and parameters & _ASKED:
        found |= Label.SENDS  # an address that is asked for can carry anything
    if called & _RUN or parameters & _CODE:
        found |= Label.RUNS
    if called & _KEEP and (called & _WRITE or not called & _READ):
        found |= Label.KEEPS
    return found


def _split(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(text))


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


class Tool(NamedTuple):
    """A tool as flows see it.

    Attributes:
        name: the tool's.
        labels: what it does.
        is_source: what comes back from it is kept.
        is_sink: what goes to it is looked up.
    """

    name: str
    labels: Label
    is_source: bool
    is_sink: bool


def tool_of(name: str, definition: JsonObject | None) -> Tool:
    """A tool with its labels."""
    labels = labels_of(name, definition)
    return Tool(name, labels, bool(labels & SOURCES), bool(labels & SINKS))


class _Kept:
    """A frame that passed, as bytes until somebody asks for its text."""

    __slots__ = ("_text", "frame", "since", "tool")

    def __init__(self, tool: Tool, frame: bytes, since: float) -> None:
        self.tool = tool
        self.frame = frame
        self.since = since
        self._text: str | None = None

    def text(self) -> str:
        """Its strings, with single spaces between all words."""
        if self._text is None:
            self._text = _text_of(self.frame)
        return self._text


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
            while self._came_bytes > KEPT_BYTES or now - self._came[0].since > KEPT_SECONDS:
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
        with self._lock:
            kept = [one for one in self._came if one.tool.name != tool.name]
        if not kept:
            return []
        text = Text(arguments, keyed=False).data[:ASKED_BYTES]
        return list(_leaks(tool.labels, kept, _readings(text), self._sent_before()))

    def _sent_before(self) -> str:
        while self._went:
            self._said.append(_text_of(self._went.popleft()))
            self._said_chars += len(self._said[-1])
        self._went_bytes = 0
        while self._said_chars > SAID_BYTES:
            self._said_chars -= len(self._said.popleft())
        return "\n".join(self._said)


def _text_of(frame: bytes) -> str:
    """The strings of a frame, with single spaces between all words."""
    try:
        value = parse_json(frame)
    except Refusal:
        return ""
    return " ".join(Text(value, keyed=False).data.decode("utf-8", "ignore").split())


def _readings(text: bytes) -> list[str]:
    """The text as it is, and all that is encoded in it."""
    cued = {cue: [(0, len(text))] for cue in _ENCODINGS}
    found = views.decode(text, cued, Budget())
    return [one.decode("utf-8", "ignore") for one in (text, *(part.data for part in found))]


_ENCODINGS = (
    *(Cue.PERCENT, Cue.ESCAPE, Cue.BASE64, Cue.HEX, Cue.BASE32),
    *(Cue.LONG_RUN, Cue.REVERSED, Cue.TURNED),
)


class Shared(NamedTuple):
    """Which secrets stand in what came and in what goes.

    Attributes:
        like: one that is random enough to be a secret.
        named: one that was called a password, a token or the like where it came from.
    """

    like: bool
    named: bool


def _leaks(labels: Label, kept: list[_Kept], readings: list[str], known: str) -> Iterator[Leak]:
    tokens = [t for reading in readings for t in _tokens(reading) if _is_telling(t)]
    shingles = [shingle for reading in readings for shingle in _shingles(reading)]
    tokens = [t for t in dict.fromkeys(tokens) if t not in known][:MOST_NEEDLES]
    step = len(shingles) // MOST_NEEDLES + 1
    shingles = [s for s in dict.fromkeys(shingles[::step]) if s not in known]
    left = SEARCHED_BYTES
    for one in reversed(kept):
        text = one.text()
        left -= len(text) * (len(tokens) + len(shingles) + 1)
        if left < 0:
            return
        shared = [t for t in tokens if t in text]
        named = (value for value in _NAMED.findall(text) if value not in known)
        secrets = Shared(
            like=any(map(_is_secret, shared)),
            named=any(value in reading for value in named for reading in readings),
        )
        covered = sum(len(s) for s in shingles if s in text) * step
        if len(shared) >= MANY_TOKENS:
            covered += sum(map(len, shared))
        yield from _judged(labels, one.tool, secrets, covered)


def _judged(labels: Label, source: Tool, secrets: Shared, covered: int) -> Iterator[Leak]:
    reads_secret = bool(source.labels & Label.READS_SECRET)
    reads_private = reads_secret or bool(source.labels & Label.READS_PRIVATE)
    name = source.name
    if labels & Label.SENDS and reads_private and any(secrets):
        sure = Confidence.HIGH if reads_secret or secrets.named else Confidence.MEDIUM
        note = f"a value that came back from {name!r} leaves through this call"
        yield Leak("flows.secret-out", Severity.CRITICAL, sure, name, note)
    elif labels & Label.SENDS and reads_private and covered >= COVERED_CHARS:
        note = f"text that came back from {name!r} leaves through this call"
        yield Leak("flows.private-out", Severity.HIGH, Confidence.MEDIUM, name, note)
    elif labels & ACTS and source.labels & Label.TAKES_IN and covered >= COVERED_CHARS // 2:
        note = f"text from {name!r}, which anybody may have written, is run or kept"
        yield Leak("flows.untrusted-acts", Severity.HIGH, Confidence.MEDIUM, name, note)


_TOKEN = re.compile(rf"[A-Za-z0-9_@.+/=-]{{{TOKEN_CHARS},256}}")
_PLAIN = re.compile(rf"[A-Za-z0-9_-]{{{TOKEN_CHARS},256}}")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-fA-F]+")


_NAMED = re.compile(
    r"(?:pass(?:word|wd|phrase)?|secret|token|key|credentials?|dsn)[\w-]{0,20}[\"']?\s?[=:]\s?[\"']?"
    r"([^\s\"',;<>]{8,200})",
    re.IGNORECASE,
)


def _tokens(text: str) -> Iterator[str]:
    """Runs of letters and digits, with and without what may stand in a value or before it."""
    for token in _TOKEN.findall(text):
        yield token
        _, equals, value = token.partition("=")
        if equals and len(value) >= TOKEN_CHARS:
            yield value
        yield from (part for part in _PLAIN.findall(token) if part != token)


def _is_telling(token: str) -> bool:
    """True for what two texts do not share by chance."""
    return any(map(str.isdigit, token)) or "@" in token


def _is_secret(token: str) -> bool:
    """True for what is made to be guessed by nobody: no id, no digest, no path, no address."""
    if "/" in token or "@" in token or _UUID.fullmatch(token) or _HEX.fullmatch(token):
        return False
    return entropy(token.encode()) >= SECRET_ENTROPY and not token.isdigit()


def _shingles(text: str) -> Iterable[str]:
    words = text.split()
    return (
        " ".join(words[at : at + SHINGLE_WORDS])
        for at in range(0, len(words) - SHINGLE_WORDS + 1, SHINGLE_WORDS // 2)
    )
