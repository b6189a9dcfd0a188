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
from collections.abc import Iterator
from threading import Lock
from typing import NamedTuple

from pipeguard.core.finding import Confidence, Severity
from pipeguard.core.flows import overlap
from pipeguard.core.flows.outgoing_call import Call
from pipeguard.core.flows.tool_labels import ACTS, CHANGES, PRIVATE, Label, Tool
from pipeguard.core.flows.tool_results import ToolResult, text_of
from pipeguard.core.protocol.json_values import JsonValue
from pipeguard.core.text.document import MessageText

SECRET_OUT = "flows.secret-out"  # noqa: S105  a rule's id
KEPT_BYTES = 4 * 2**20  # of results, with what stands beside them
DERIVED_BYTES = 16 * 2**20  # in memory, of what was worked out of them and is kept for the next
KEPT_RESULTS = 1000  # of them
SAID_BYTES = 2**18  # of requests
KEPT_SECONDS = 1800.0
ASKED_BYTES = 2**16  # of arguments that are looked up
SEARCHED_BYTES = 64 * 2**20  # for one call: about 30 ms
MANY_NAMES = 4  # of people, that are the same
MANY_TOKENS = 3  # that are the same: a list of people, not one that is written to
COVERED_CHARS = 44  # letters and digits, the same in both, before private text is said to leave,
QUOTED_CHARS = 72  # and where it goes to somebody who is named: answers quote what they answer
MARKED_CHARS = 32  # the same, of a text that says that it is not for everybody
HIDDEN_CHARS = 24  # the same, of what was encoded
ACTED_CHARS = 32  # the same, before text that anybody may have written is said to be run
PASSAGE_CHARS = 24  # of them in a row, where they are not
PASSAGES_SHARE = 0.25  # of all that is said
ORDERED_CHARS = 16  # of words that a text tells a model to use
RECENT_CALLS = 4  # in which the pieces of a value may leave one after the other
PIECE_CHARS = 2048  # of one, where it is encoded
RECENT_TOOLS = 64  # of which they are kept
MAX_NAME_CHARS = 256  # of a tool's, by which they are


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


class Flows:
    """What went through one server lately. Any thread may call anything.

    What is kept is behind one lock; what is looked up is looked up in a copy of the list.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._came: deque[ToolResult] = deque()
        self._came_bytes = 0
        # Bytes alone: thousands of objects that live would be walked by each garbage collection.
        self._went: deque[bytes] = deque()
        self._went_bytes = 0
        self._said: deque[tuple[str, str]] = deque()  # what of it was asked for, and its letters
        self._said_chars = 0
        self._sent: deque[str] = deque(maxlen=RECENT_CALLS)  # squeezed, to tools that send
        self._longest: dict[str, deque[str]] = {}  # of what each of them was sent, the longest word

    def came(
        self, tool: Tool, frame: bytes, now: float, about: frozenset[str] = frozenset()
    ) -> None:
        """Keep a result.

        Args:
            tool: that was called.
            frame: the whole answer.
            now: seconds on the session's clock.
            about: the short values of the call, as `traces.values` has them.
        """
        if len(frame) > KEPT_BYTES:
            return
        kept = ToolResult(tool, frame, now, about)
        with self._lock:
            self._came.append(kept)
            self._came_bytes += kept.size
            while self._came and (
                len(self._came) > KEPT_RESULTS
                or self._came_bytes > KEPT_BYTES
                or now - self._came[0].since > KEPT_SECONDS
            ):
                self._came_bytes -= self._came.popleft().size

    def was_said(self, text: str) -> bool:
        """Whether a text came back from any tool, as it is."""
        with self._lock:
            came = list(self._came)
        return any(text in one.text() for one in came)

    def went(self, frame: bytes) -> None:
        """Keep a request that went on: what stands in it came from the client's side."""
        with self._lock:
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
        bare = _without_credentials(arguments)
        found = self._looked_up(tool, bare) if tool.is_sink else []
        if not tool.labels & Label.SENDS and (asked := " ".join(overlap.addresses_of(arguments))):
            # Whatever a tool is for: who loads what it is given asks for such an address.
            found += self._looked_up(tool._replace(labels=Label.SENDS | Label.OUTSIDE), asked)
        if not found and bare != arguments and tool.labels & Label.OUTSIDE:
            # Where a credential belongs it may go, but an address can be anybody's.
            used = self._looked_up(tool, arguments)
            found = [leak._replace(confidence=Confidence.MEDIUM) for leak in used]
        return found

    def _looked_up(self, tool: Tool, arguments: JsonValue) -> list[Leak]:
        is_sent = tool.labels & Label.SENDS
        with self._lock:
            kept = [one for one in self._came if one.tool.name != tool.name]
        kept = [one for one in kept if is_sent or one.tool.labels & Label.TAKES_IN]
        if not kept:
            return []
        text = MessageText(arguments, keyed=False).data[:ASKED_BYTES]
        if tool.labels & Label.WRITES:
            if not _OBEYED.search(text):
                return []
            tool = tool._replace(labels=tool.labels | Label.KEEPS)
        about = overlap.values(arguments)
        if any(overlap.is_outside(value) for value in about):
            tool = tool._replace(labels=tool.labels | Label.OUTSIDE)
        call = Call(tool, text, self._said_before(), about)
        self._follow(call)
        leaks = list(_leaks(call, kept))
        _let_go(kept)
        return leaks

    def _follow(self, call: Call) -> None:
        """Read a call behind those that sent something before; of two at once, one is the second.

        Kept of it are the end of what is sent and, by its tool, the longest word.
        """
        if not call.tool.labels & Label.SENDS:
            with self._lock:
                before = list(self._sent)
            call.follow("".join(before))
            return
        name = call.tool.name[:MAX_NAME_CHARS]
        piece = overlap.piece(call.readings[0])[:PIECE_CHARS]
        squeezed = call.squeezed[0][-ASKED_BYTES:]
        with self._lock:
            before = list(self._sent)
            self._sent.append(squeezed)
            recent = self._longest.pop(name, None) or deque(maxlen=RECENT_CALLS)
            recent.append(piece)
            while len(self._longest) >= RECENT_TOOLS:
                del self._longest[next(iter(self._longest))]
            self._longest[name] = recent
            pieces = list(recent)
        call.follow("".join(before))
        call.put_together(pieces)

    def _said_before(self) -> tuple[str, str]:
        """The texts of what went, and their letters alone."""
        with self._lock:
            went = list(self._went)
            self._went.clear()
            self._went_bytes = 0
        texts = map(text_of, went)
        said = [(text, overlap.letters(text)) for text in texts]
        with self._lock:
            self._said += said
            self._said_chars += sum(len(text) for text, _ in said)
            while self._said_chars > SAID_BYTES:
                self._said_chars -= len(self._said.popleft()[0])
            said = list(self._said)
        return "\n".join(text for text, _ in said), "".join(letters for _, letters in said)


def _let_go(kept: list[ToolResult]) -> None:
    """Of too much that was worked out, forget the oldest: it can be worked out again."""
    total = 0
    for one in reversed(kept):
        total += one.derived
        if total > DERIVED_BYTES:
            one.forget()


def _without_credentials(value: JsonValue) -> JsonValue:
    """The arguments without those that are made for a credential."""
    if isinstance(value, dict):
        return {
            key: _without_credentials(item)
            for key, item in value.items()
            if not overlap.is_credential(key)
        }
    return [_without_credentials(item) for item in value] if isinstance(value, list) else value


# Files that models read before all else.
_OBEYED = re.compile(
    rb"(?:CLAUDE|AGENTS?|GEMINI|MEMORY|SOUL)\.md|\.cursorrules|\.cursor/rules|\.windsurfrules|"
    rb"copilot-instructions|\.clinerules|/memory/|\.mdc\b"
)


def _leaks(call: Call, kept: list[ToolResult]) -> Iterator[Leak]:
    left = SEARCHED_BYTES
    is_told = any(one.addressed() for one in kept)  # somebody wrote for the model before
    for one in reversed(kept):
        left -= len(one.text()) * call.needles
        if left < 0:
            return
        labels, source = call.tool.labels, one.labels()
        if labels & Label.SENDS and source & PRIVATE:
            yield from _private(call, one, is_told=is_told)
        if (labels & (CHANGES | Label.SENDS) or not labels) and one.addressed():
            yield from _ordered(call, one)
        elif labels & (ACTS | Label.GUARDS) and source & Label.TAKES_IN and _repeats(call, one):
            note = f"text from {one.tool.name!r}, which anybody may have written, is run or kept"
            sure = Confidence.HIGH if labels & Label.GUARDS else Confidence.MEDIUM
            yield Leak("flows.untrusted-acts", Severity.HIGH, sure, one.tool.name, note)


def _repeats(call: Call, one: ToolResult) -> bool:
    """Whether enough of a call stands in a result to be that result's."""
    return call.shares(one, call.digests).chars >= ACTED_CHARS


def _private(call: Call, one: ToolResult, *, is_told: bool) -> Iterator[Leak]:
    """What was read for the user alone, and leaves."""
    source, labels, name = one.labels(), call.tool.labels, one.tool.name
    like, is_named = _secrets(call, one)
    if like or is_named:
        known = is_named or bool(source & Label.READS_SECRET)
        note = f"a value that came back from {name!r} leaves through this call"
        confidence = Confidence.HIGH if known else Confidence.MEDIUM
        yield Leak(SECRET_OUT, Severity.CRITICAL, confidence, name, note)
        return
    if not source & (Label.READS_PRIVATE | Label.READS_SECRET):
        return
    hidden, clear = call.hides(one), call.shares(one, call.digests + call.addresses)
    is_passage = clear.longest >= PASSAGE_CHARS or clear.chars >= PASSAGES_SHARE * call.size
    covered = hidden + clear.chars * is_passage
    shared = [token for token in call.tokens if token.lower() in one.small()]
    if len(shared) >= MANY_TOKENS:
        covered += sum(map(len, shared))
        hidden += sum(len(token) for token in shared if token not in call.readings[0])
    is_meant = bool(labels & Label.OUTSIDE and source & Label.READS_PERSONAL)
    names = sum(name in one.small() for name in call.people)
    is_list = is_meant and (len(shared) >= MANY_TOKENS or names >= MANY_NAMES)
    enough = COVERED_CHARS if labels & Label.OUTSIDE or is_told else QUOTED_CHARS
    if call.goes_back(one) and not is_told:
        covered, is_list = hidden, False  # who is named there knows of it
    elif one.is_marked():
        enough, is_meant = MARKED_CHARS, True
    elif not labels & Label.OUTSIDE and not source & Label.READS_PERSONAL and not is_told:
        covered = hidden  # a file that is quoted where it belongs
    if covered < enough and hidden < HIDDEN_CHARS and not is_list:
        return
    sure = is_meant or hidden >= HIDDEN_CHARS or is_told
    note = f"text that came back from {name!r} leaves through this call"
    confidence = Confidence.HIGH if sure else Confidence.MEDIUM
    yield Leak("flows.private-out", Severity.HIGH, confidence, name, note)


def _secrets(call: Call, one: ToolResult) -> tuple[bool, bool]:
    """Whether a secret leaves: one that looks it, and one that was called so where it came from."""
    text = one.text()
    like = any(token in text for token in call.tokens if one.looks()(token))
    known = overlap.squeezed(call.known) if one.secrets() else ""
    for bare in one.secrets():
        if like:
            break
        if bare not in known:
            like = bare in call.whole or bare[::-1] in call.whole
            like = like or overlap.in_pieces(bare, call.torn)
    named = (value for value in overlap.named(text) if value not in call.known)
    return like, any(value in reading for value in named for reading in call.readings)


def _ordered(call: Call, one: ToolResult) -> Iterator[Leak]:
    """What a text told a model to do, and is done."""
    told = one.addressed()
    letters = overlap.letters(told)
    does = any(overlap.letters(name) in letters for name in call.names)
    does = does or sum(len(row) for row in call.few if row in told) >= ORDERED_CHARS
    if call.tool.labels & Label.GUARDS and not does:
        does = any(word in told for word in overlap.words(call.readings[0]))
    if does:
        note = f"{one.tool.name!r} gave a text that tells a model to do this"
        yield Leak("flows.untrusted-acts", Severity.HIGH, Confidence.HIGH, one.tool.name, note)
