"""Notices the walls that one isolated server hits, has them recorded, and says so in its answers.

What it notices of files and ports a server says itself, and may invent: it grants nothing, and is
bounded in number. Whether there is such a file is looked up beside the frames (`presence`).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from contextlib import suppress
from threading import Lock, Thread
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pipeguard.core.finding import Action, Direction, Finding, MessageKind, Severity
from pipeguard.core.lazy_regex import lazy_regex
from pipeguard.core.protocol.batch import array
from pipeguard.core.protocol.json_values import serialise
from pipeguard.core.protocol.message import Message, parse
from pipeguard.core.unicode.display import visible
from pipeguard.errors import Refusal
from pipeguard.isolation.sensitive import is_within
from pipeguard.isolation.walls.annotation import (
    annotated,
    is_about_failure,
    is_named,
    texts_of,
)
from pipeguard.isolation.walls.links import led_out_to
from pipeguard.isolation.walls.mentions import has_sign, mentions
from pipeguard.isolation.walls.muttered import Muttered, is_asked
from pipeguard.isolation.walls.running_calls import RunningCalls
from pipeguard.isolation.walls.sight import Sight, is_own_folder, sight_of
from pipeguard.isolation.walls.temporary_names import is_temporary
from pipeguard.isolation.walls.wall import (
    ARGUMENT,
    NOTHING_THERE,
    PORT,
    READ,
    ROOTS,
    WRITE,
    Mention,
    Wall,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from queue import SimpleQueue

    from pipeguard.core.finding import Verdict
    from pipeguard.isolation.egress.recording import RefusedTarget
    from pipeguard.isolation.view import FileView
else:
    from _queue import SimpleQueue  # without the half that is written in Python

MAX_EVENTS = 100  # of files and ports, in one run
MAX_LOOKS = 1000  # for what only standard error named, in one run
MAX_REFUSED = 256  # hosts and ports that were refused last
MAX_TIMES = 8  # when each of them was, last
MAX_FRAME_BYTES = 1024 * 1024  # of an answer that is read again
EXCERPT_CHARS = 80
END_SECONDS = 2.0
PLACE = "isolation"
_IS_ERROR = lazy_regex(rb'"isError"\s*:\s*true')
_NOTES = {
    READ: "it is not given to the server to read",
    WRITE: "it is not given to the server to change",
    PORT: "this port of this machine is not given to the server",
    ARGUMENT: "the server itself takes only folders among its arguments, or the client's roots",
    ROOTS: "the client's roots are not given to the server, of which this is one",
}


class WitnessedServer(Protocol):
    """What a witness knows of the server: a `Sandbox`."""

    @property
    def view(self) -> FileView:
        """The files that it sees now."""

    @property
    def loopback(self) -> frozenset[int]:
        """The ports of this machine that it is given now."""

    def report_refused(self) -> None:
        """Have it known which connections were refused until now; does not wait for them."""


class _Span(NamedTuple):
    """While a call of a conversation ran."""

    conversation: str
    since: float
    until: float
    asked: bytes


class _Refused(NamedTuple):
    """What was refused, and when."""

    wall: Wall
    times: deque[float]


class WallWitness:
    """The walls of one server; all methods may be called from any thread.

    Args:
        server: what it sees.
        folder: the absolute path of the folder that it starts in.
        name_event: names a new event of the run.
        record: takes a finding and the name of its event.
        mask: takes secrets out of a text; called by one thread at a time.
        quotable: whether a model may read a text that the server chose.
    """

    def __init__(  # noqa: PLR0913, PLR0917  what it asks of the run, one each
        self,
        server: WitnessedServer,
        folder: str,
        name_event: Callable[[], str],
        record: Callable[[Finding, str], None],
        mask: Callable[[bytes], bytes],
        quotable: Callable[[str], bool],
    ) -> None:
        self.annotate = annotated
        self._server = server
        self._folder = folder
        self._name_event = name_event
        self._record = record
        self._mask = mask
        self._quotable = quotable
        self._lock = Lock()
        self._mask_lock = Lock()
        self._refused: OrderedDict[tuple[str, str], _Refused] = OrderedDict()
        self._calls = RunningCalls()
        self._events: dict[Mention, str] = {}
        self._looked: set[Mention] = set()
        self._roots: dict[str, str] = {}  # why, of those that were refused
        self._muttered = Muttered()
        self.listen_to = self._muttered.listen_to
        self._queue: SimpleQueue[tuple[Mention, str, str] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def close(self) -> None:
        """Have all of it recorded; nothing comes any more."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join(END_SECONDS)  # a file system may not answer

    def refused(self, target: RefusedTarget) -> None:
        """Know that a connection was refused."""
        key = target.rule, target.subject
        wall = Wall(target.rule, target.subject, target.event, entry=target.entry)
        with self._lock:
            before = self._refused.pop(key, None)
            times = deque([] if before is None else before.times, MAX_TIMES)
            times.append(target.at)
            self._refused[key] = _Refused(wall, times)
            if len(self._refused) > MAX_REFUSED:
                self._refused.popitem(last=False)

    def refuse_root(self, path: str, why: str, rule: str = ROOTS) -> None:
        """Have a root of the client recorded that the server is not given.

        Args:
            path: of the root.
            why: it is not; empty where no root is given.
            rule: ROOTS, or READ or WRITE where roots are given and this one is refused.
        """
        with self._lock:
            if path in self._roots or len(self._roots) >= MAX_EVENTS or not path.isprintable():
                return
            self._roots[path] = why
        self._event_of(Mention(rule, path), "")

    # --- answers --------------------------------------------------------------------------------

    def annotated(self, verdict: Verdict, now: float) -> Verdict:
        """The verdict on an answer, which says what wall it failed at; any other as it is.

        Args:
            verdict: of the session; of a batch, each member is looked at.
            now: as it was judged, on the session's clock.
        """
        conversation = verdict.event.rpartition(".")[0]
        if not verdict.members:
            return self._annotated(verdict, now, conversation)
        members = tuple(self._annotated(each, now, conversation) for each in verdict.members)
        if all(new is old for new, old in zip(members, verdict.members, strict=True)):
            return verdict
        frames = [each.forward for each in members if each.forward is not None]
        return verdict._replace(forward=array(frames), members=members)

    def _annotated(self, verdict: Verdict, now: float, conversation: str) -> Verdict:
        forward, seconds = verdict.forward, verdict.answer_seconds
        if verdict.direction is Direction.TO_SERVER:
            if verdict.kind is MessageKind.REQUEST and forward is not None:
                with self._lock:
                    self._calls.begin(conversation, now, forward)
            return verdict
        if seconds is None:
            return verdict
        with self._lock:
            asked = self._calls.end(conversation, now - seconds, now)
        if forward is None or verdict.action is Action.BLOCK:
            return verdict
        return self._with_walls(verdict, forward, _Span(conversation, now - seconds, now, asked))

    def _with_walls(self, verdict: Verdict, forward: bytes, span: _Span) -> Verdict:
        """The verdict on an answer that passes, which says what wall it failed at."""
        is_result = verdict.kind is MessageKind.RESULT and verdict.method == "tools/call"
        has_failed = verdict.kind is MessageKind.ERROR or (
            is_result and _IS_ERROR.search(forward) is not None
        )
        refused = self._refused_in(span) if has_failed or is_result else []
        if len(forward) > MAX_FRAME_BYTES or not (has_failed or refused):
            return verdict
        with suppress(Refusal):
            message = parse(forward)
            if isinstance(message, Message):
                text = texts_of(message.value)
                walls = [wall for wall, is_its in refused if is_its or is_named(wall, text)]
                if has_failed:
                    self._muttered.catch_up()
                    tool = verdict.tool or ""
                    named = self._mentioned(mentions(text, self._folder, tool), tool)
                    # Where an answer only says that it failed, standard error may say at what.
                    named = named or self._mentioned(self._muttered_in(span), tool)
                    known = {(wall.rule, wall.subject) for wall in walls}
                    walls += [each for each in named if (each.rule, each.subject) not in known]
                elif not is_about_failure(text, walls):
                    return verdict
                if walls:
                    walls = [self._as_quotable(wall) for wall in walls]
                    return verdict._replace(forward=serialise(self.annotate(message.value, walls)))
        return verdict

    def _as_quotable(self, wall: Wall) -> Wall:
        is_quotable = all(map(self._quotable, (wall.subject, wall.link)))
        return wall if is_quotable else wall._replace(is_quotable=False)

    def _refused_in(self, span: _Span) -> list[tuple[Wall, bool]]:
        """What was refused while a call ran, and whether no other conversation's ran then."""
        self._server.report_refused()
        if not self._refused:
            return []
        with self._lock:
            found = []
            for wall, times in self._refused.values():
                hit = [at for at in times if span.since <= at <= span.until]
                if hit:
                    is_its = any(self._calls.is_alone(span.conversation, at) for at in hit)
                    found.append((wall, is_its))
            return found

    def _muttered_in(self, span: _Span) -> list[Mention]:
        """What standard error named while a call ran; of several at once, what each asks for."""
        with self._lock:
            ours = (
                mention
                for mention, at in self._muttered.mentioned(span.since)
                if self._calls.is_alone(span.conversation, at)
            )
            said = list(dict.fromkeys(ours))
            is_one_of_many = self._calls.is_one_of_many(*span[:3])
        own = [mention for mention in said if is_asked(mention, span.asked)]
        return own if own and is_one_of_many else said

    def _mentioned(self, mentioned: Iterable[Mention], tool: str) -> list[Wall]:
        walls: dict[str, Wall] = {}
        for mention in self._walls_among(mentioned):
            event = self._event_of(mention, tool)
            if event is not None:
                wall = Wall(mention.rule, mention.subject, event, mention.link)
                walls[event or mention.subject] = wall
        return [*walls.values(), *self._roots_around(walls.values())]

    def _roots_around(self, walls: Iterable[Wall]) -> Iterable[Wall]:
        """Where none of the client's roots is given, that one holds what a wall is about."""
        subjects = [wall.subject for wall in walls if wall.rule in {READ, WRITE, ARGUMENT}]
        for mention, event in tuple(self._events.items()):
            if mention.rule == ROOTS and any(is_within(each, mention.subject) for each in subjects):
                yield Wall(ROOTS, mention.subject, event)

    # --- standard error -------------------------------------------------------------------------

    def look_at(self, data: bytes) -> None:
        """Look at lines of standard error.

        What only standard error names is an event where there is such a file, and no other:
        programs look for many files that nobody has, and say so.
        """
        text = data.decode("utf-8", "replace")
        if not has_sign(text.lower()):
            return
        lines = text.splitlines()  # each by itself, since many may come at once
        named = [mention for line in lines for mention in mentions(line, self._folder)]
        walls = [*self._walls_among(dict.fromkeys(named))]
        self._muttered.add(walls)
        for mention in walls:
            if len(self._looked) >= MAX_LOOKS:
                return
            if mention not in self._looked and mention._replace(named="") not in self._events:
                self._looked.add(mention)
                self._put(mention, "", "")

    # --- what is found --------------------------------------------------------------------------

    def _walls_among(self, mentioned: Iterable[Mention]) -> Iterable[Mention]:
        """Those that the server is not given; WRITE where it may only read."""
        for mention in mentioned:
            if mention.rule == PORT:
                if int(mention.subject) not in self._server.loopback:
                    yield mention
                continue
            view = self._server.view
            if mention.rule == WRITE and is_own_folder(view, mention.subject):
                continue
            sight = sight_of(view, mention.subject)
            is_refused = sight is Sight.NOTHING or (sight is Sight.READ and mention.rule == WRITE)
            if is_refused or mention.rule == ARGUMENT:
                yield mention
            elif (outside := led_out_to(mention.subject, view)) is not None:
                yield Mention(mention.rule, outside, mention.subject, mention.named)

    def _event_of(self, mention: Mention, tool: str) -> str | None:
        """The event of a wall, the same for each time it is hit.

        Returns:
            Empty where there are too many; None for what is told to nobody.
        """
        with self._mask_lock:
            text = "\n".join(mention[1:]).encode("utf-8", "replace")
            if self._mask(text) != text:
                return None  # it holds a secret, which is written down nowhere
        with self._lock:
            refused = self._refused.get((mention.rule, mention.subject))  # a port's, as seen
            if refused is not None:
                return refused.wall.event
            key = mention._replace(named="")
            event = self._events.get(key)
            if event is not None or len(self._events) >= MAX_EVENTS:
                return event or ""
            event = self._events[key] = self._name_event()
        self._put(mention, event, tool)
        return event

    def _put(self, mention: Mention, event: str, tool: str) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = Thread(target=self._record_all, name="walls", daemon=True)
                self._thread.start()
        self._queue.put((mention, event, tool))

    def _record_all(self) -> None:
        # Few servers hit a wall.
        from pipeguard.isolation.walls.presence import folder_behind, is_present

        while (item := self._queue.get()) is not None:
            mention, event, tool = item
            is_there, why = is_present(mention), self._roots.get(mention.subject, "")
            folder = None
            # What programs only look for, and say so on standard error, nobody has.
            if not is_there and not why and (event or is_temporary(mention.subject)):
                folder = folder_behind(mention, tool, self._server.view)
            is_there = is_there or folder is not None
            if event:
                finding = _finding(folder or mention, tool, why, is_there=is_there)
                self._record(finding, event)
            elif is_there:
                self._event_of(mention, tool)  # comes again, as an event


def _finding(mention: Mention, tool: str, why: str, *, is_there: bool) -> Finding:
    note = why or _NOTES[mention.rule]
    if mention.link:
        note += f"; the link {shortened(mention.link)} leads there"
    if mention.named:
        note += f"; the server named {shortened(mention.named)} in it"
    if mention.named and mention.rule == READ:
        note += ", which is not there; to have it made, give the folder to change (--write)"
    is_stopped = is_there and mention.rule != ARGUMENT  # that the server refuses by itself
    return Finding(
        mention.rule,
        PLACE,
        severity=Severity.MEDIUM if is_stopped else Severity.INFO,
        action=Action.BLOCK if is_stopped else Action.ALLOW,
        excerpt=shortened(mention.subject),
        note=note + ("" if is_there else f"; {NOTHING_THERE}"),
        tool=tool or None,
        path="" if mention.rule == PORT else mention.subject,
    )


def shortened(named: str) -> str:
    """A path or port, made visible; of a long path the end, which tells it from others."""
    text = visible(named[-EXCERPT_CHARS:])
    return text if len(named) <= EXCERPT_CHARS else f"…{text[1 - EXCERPT_CHARS :]}"
