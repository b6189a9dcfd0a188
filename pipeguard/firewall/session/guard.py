"""One server as the firewall knows it: its policy, its pins and its detector.

All Sessions with the server share a Guard. Pins are replaced as a whole when the store has new
ones, so that a Session sees all of an approval or nothing of it. Detection is behind `Detector`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from hashlib import blake2b
from typing import Any, Protocol

from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.finding import (
    Action,
    Confidence,
    Direction,
    Finding,
    PinChange,
    Severity,
    Verdict,
)
from pipeguard.firewall.pins.fingerprint import Pin, canonical
from pipeguard.firewall.pins.store import PinKey, Pins, PinsByKey, as_trusted
from pipeguard.firewall.policy import Policy, PolicyTarget, Trust
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Path
from pipeguard.firewall.protocol.message import Message, PlainOutline
from pipeguard.firewall.protocol.pending import NO_CALL, Targets
from pipeguard.firewall.protocol.places import HTTP_HEADER, Surface, name_place, pointer
from pipeguard.firewall.session.memory import CallEvent, SharingLedger
from pipeguard.records import NamedTuple

__all__ = ("Context", "Detector", "Guard", "PinKey")
WOULD_CUT = "with `mode: enforce`, it would be cut out of the result"
EXEMPT = "an exception of your policy lets it pass"
APPROVED = "approved by the organisation"  # the reason of a change that holds nothing
MARK_BYTES = 16  # of a call's mark


class DefinitionGroup:
    """Definitions of a list that are read one after another.

    Attributes:
        values: the definitions.
        looks: those of the detector at each of them, once it has read one.
    """

    def __init__(self, values: Sequence[JsonValue]) -> None:
        self.values = values
        self.looks: Any = None


class Context(NamedTuple):
    """The message being judged, and the place in it.

    Attributes:
        guard: whose policy and pins apply.
        part: `params`, `result`, `error` or `headers`.
        method: of the request, for its answer too.
        now: seconds on the session's clock.
        tool: the tool concerned, or None.
        prefix: the path of the value in its message.
        budgets: the cost that judging the message may still have; None for a whole message.
        call: of which the value is a part or the result.
        original: the message as it came, if this one is the rest after a cut or redaction, because
            an exception is for the content that a person saw. Else None.
        event: names the verdict on the message, also in the lines that replace cut passages.
        message: the message, if all of it is judged; None for a part.
        is_clean: True if a look showed that no rule matches in the message.
        group: of a definition, those that are read next to it; None without them.
    """

    guard: Guard
    part: str
    method: str | None
    now: float
    tool: str | None = None
    prefix: Path = ()
    budgets: Budgets | None = None
    call: Targets = NO_CALL
    original: JsonValue = None
    event: str = ""
    message: Message | None = None
    is_clean: bool = False
    group: DefinitionGroup | None = None

    def place(self, path: Path) -> str:
        """The name of the place at a path below the value."""
        return name_place(self.part, self.method, self.prefix + path)

    @property
    def whole(self) -> str:
        """The name of the place for findings in the value as a whole, at no single place in it."""
        return HTTP_HEADER if self.part == "headers" else f"{self.part}.other"

    def finding(
        self,
        rule: str,
        place: str,
        level: tuple[Severity, Confidence],
        *,
        content: str = "",
        note: str = "",
        obstacle: str | None = None,
    ) -> Finding:
        """A finding of a rule outside all packs, with the action of the policy."""
        severity, confidence = level
        bare = Finding(
            rule,
            place,
            severity=severity,
            confidence=confidence,
            tool=self.tool,
            content=content,
        )
        decided = self.decide(bare, Surface.TO_SERVER, obstacle=obstacle)
        return decided._replace(note=decided.note or note)

    def make_finding(self, rule: str, path: Path, start: int, end: int) -> Finding:
        """A finding in the string at a path below the value, before the policy's decision."""
        where = pointer(self.prefix + path)
        return Finding(rule, self.place(path), where, start, end, tool=self.tool)

    def exempts(self, rule: str, place: str) -> bool:
        """True if a person's exception lets through text that is otherwise always removed."""
        target = self._target(Finding(rule, place), Surface.TO_CLIENT)
        return self.guard.policy.exempts(target, self.now)

    def decide(self, bare: Finding, surface: Surface, *, obstacle: str | None) -> Finding:
        """The finding with the policy's action, and the content that an exception could name.

        Args:
            bare: the finding.
            surface: that it was judged for.
            obstacle: the reason why it cannot be cut out; empty if it can, None for what never is.
        """
        policy, note = self.guard.policy, ""
        is_call = self.part == "params" and self.method == "tools/call"
        target = self._target(bare, surface)._replace(is_cuttable=obstacle == "", is_call=is_call)
        enforced, why = policy.decide(target, self.now)
        action = policy.limit(enforced)
        if policy.exempts(target, self.now):
            note = EXEMPT
        elif enforced is Action.CUT > action:
            note = WOULD_CUT
        if enforced is Action.BLOCK and obstacle:
            why += f", not cut: {obstacle}"
        if action < enforced:
            why += ", but `mode: observe`"
        paths, hosts = self.call.facts.names
        return bare._replace(
            action=action,
            note=note,
            path=paths[0] if len(paths) == 1 and not hosts else "",
            host=hosts[0] if len(hosts) == 1 and not paths else "",
            would=enforced if enforced > action else None,
            steps=(*bare.steps, f"{enforced.name.lower()}: {why}"),
        )

    def _target(self, finding: Finding, surface: Surface) -> PolicyTarget:
        paths, hosts = self.call.facts.names
        return PolicyTarget(
            finding.rule,
            finding.severity,
            finding.confidence,
            finding.place,
            self.guard.name,
            self.tool,
            surface,
            content=finding.content,
            paths=paths,
            hosts=hosts,
        )


class PreparedMessage(NamedTuple):
    """A parsed message that is to be judged.

    Attributes:
        message: without PipeGuard's own secrets, or with the passages that were cut out of results.
        change: about what was masked or put back; None if nothing was.
        call: the files and hosts that a request to the server names.
        values: the short values among a call's arguments: ids, names, addresses.
    """

    message: Message
    change: Finding | None = None
    call: Targets = NO_CALL
    values: frozenset[str] = frozenset()


class FrameLook(Protocol):
    """A look at the bytes of a short tool call, or of a result.

    Attributes:
        outline: of the frame.
        call: the files and hosts that a call names.
    """

    outline: PlainOutline
    call: Targets

    def sees_nothing(self, call: Targets) -> bool:
        """True if `Detector.read` finds nothing in the frame, which belongs to a call."""

    def may_leak(self, guard: Guard) -> bool:
        """False if nothing can leave with a call, and nothing is to be remembered of it."""


class Detector(Protocol):
    """Detection as the firewall sees it. A detector reports; the policy decides.

    It serves the two threads of one client's pump. Its answers depend on earlier messages.
    """

    @property
    def ledger(self) -> SharingLedger:
        """The ledger of its client."""

    def look(self, direction: Direction, frame: bytes) -> FrameLook | None:
        """Look at a short tool call, or a result, that `prepare` and `restore` do not change."""

    def prepare(self, guard: Guard, direction: Direction, message: Message) -> PreparedMessage:
        """Mask PipeGuard's own secrets in a message, or put passages back; say what it names."""

    def read(self, context: Context, surface: Surface, value: JsonValue) -> list[Finding]:
        """Find threats in a value; in a request also what would leave with it.

        Raises:
            Refusal: it could not be judged.
        """

    def read_content(self, context: Context, content: JsonObject) -> list[Finding]:
        """Find threats in a file of a skill or a page, besides those of any result; as `read`."""

    def replace(self, finding: Finding, words: str, source: str, event: str) -> str:
        """Replace the words of a finding in a message to the client.

        Args:
            finding: that is redacted or cut out.
            words: its words.
            source: the string that has them.
            event: names the verdict.
        """

    def restore(self, verdict: Verdict) -> Verdict:
        """Put secrets back into a message to the server that they came from."""

    def show(
        self, guard: Guard, tool: str | None, message: Message, findings: Sequence[Finding]
    ) -> dict[str, Any]:
        """Show a stopped message to a person: fields of a finding, without secrets.

        Args:
            guard: of the server.
            tool: that the message calls; None for another message with a secret.
            message: the message.
            findings: in it, the most serious first; for another message, that of the secret first.
        """

    def remember(self, guard: Guard, event: CallEvent) -> None:
        """Remember what became of a call that was read."""

    def needs_notes(self, guard: Guard, tool: str) -> bool:
        """True if calls of a tool are judged by the notes of the client's other ledgers, too."""


class DetectorSource(Protocol):
    """The detectors of one server, and the files that they load."""

    @property
    def detector(self) -> Detector:
        """The detector for the two threads of one client's pump."""

    @property
    def is_loaded(self) -> bool:
        """True once no text waits for a file."""

    def load_all(self) -> None:
        """Load all that any text may need, in any thread.

        Raises:
            EngineError: something is damaged; the first text would be refused.
        """

    def spare(self) -> AbstractContextManager[Detector]:
        """Lend the same detector to one other thread."""

    def part(self, key: bytes) -> DetectorSource:
        """Make the source of another client's detectors, with their own memory."""


class AnswerNote(NamedTuple):
    """PipeGuard's own words about an answer, for its reader, and findings for the audit."""

    text: str
    findings: tuple[Finding, ...] = ()


class Grants(Protocol):
    """Calls that a person allowed, each for one time; transports bring them as events."""

    def take(self, mark: str) -> str:
        """Use up the grant of a call with a mark; the event that a person allowed, or empty."""

    def find_refusal(self, event: str) -> str:
        """The refusal of the call that waits by an event, in words; empty if nobody refused it."""


class QuestionsInResults(Protocol):
    """Questions to the user in results (MCP 2026-07-28, basic/patterns/mrtr), for transports."""

    def ask(self, verdict: Verdict, event_id: str, take: Callable[[Any], Verdict]) -> Verdict:
        """Ask about a call that waits; the same verdict if the client cannot be asked any more.

        Args:
            verdict: that makes it wait.
            event_id: names the question.
            take: lets the client's session take an event.
        """

    def recognize(self, frame: bytes, conversation: str) -> RepeatedCall | None:
        """Take the answer out of a repeated call; None if no such call waits for one."""


class RepeatedCall(NamedTuple):
    """A call that its client repeats, without the answer, and the verdict that makes it wait."""

    message: Message
    held: Verdict


class Obstacles(Protocol):
    """The obstacles that a server has met outside its frames: a value, which does no I/O."""

    def explain_failure(
        self, answer: JsonObject, tool: str, event: str, since: float, now: float
    ) -> AnswerNote | None:
        """Explain a failed answer, before it is judged; None for any other.

        The tool that was called may be empty; the event names the verdict on the answer; times are
        those of the request and of the answer, on the session's clock.
        """


class ObstacleSource(Protocol):
    """Learns of obstacles (isolation.walls.witness).

    Only transports ask it: a Session is brought obstacles with the answers of the server.
    """

    def read_obstacles(self) -> Obstacles:
        """Read all obstacles until now."""

    def add_caller(self, conversation: str) -> None:
        """Note that a conversation calls tools of the server."""


class Shared:
    """State that all guards of a server share.

    Attributes:
        policy: actions for findings, and limits.
        obstacles: that the server meets; None for most servers.
        grants: calls that a person allowed; None if this is impossible.
        why_out: explains why no call may pass for now; empty if calls may.
    """

    obstacles: ObstacleSource | None = None
    grants: Grants | None = None
    why_out: Callable[[], str] = staticmethod(lambda: "")

    def __init__(self, policy: Policy) -> None:
        self.policy = policy


class Guard:
    """The policy and the pins of one server, with a detector.

    A guard is for one thread at a time in each direction. `spare` gives one for any other thread,
    and `part` one for another client. All of them share policy and pins: a pin that one learns or
    adopts is known to all.

    Args:
        name: the server's, under which its pins are stored.
        source: makes the detectors that read its texts.
        policy: which action each finding gets.
        pins: by kind and name.

    Attributes:
        is_remote: True if the server is on another machine.
        launched: what the organisation calls the server; empty if something else runs with it.
        contents_key: the installation's, with which fingerprints of findings are made; without it
            no exception holds for a content.
        inspects: False if others judge the contents, and only the protocol is checked here.
        questions: loads the module that asks the user in results; None if it is not used.
        shared: with all guards of the server.
        pin: looks a pin up by kind and name.
    """

    def __init__(self, name: str, source: DetectorSource, policy: Policy, pins: PinsByKey) -> None:
        self.name = name
        self.source = source
        self.detector = source.detector
        self.is_remote = False
        self.launched = ""
        self.contents_key = b""
        self.inspects = True
        self.questions: Callable[[], QuestionsInResults] | None = None
        self.shared = Shared(policy)
        self.pins = Pins(_trust(pins, policy))
        self.pin = self.pins.of
        self._fixed: Policy | None = None  # instead of the shared one

    def mark_call(self, tool: str, params: JsonValue, stopped: Iterable[Finding]) -> str:
        """The mark of one exact call under this policy, of a tool as it is defined now.

        A digest with the installation's key (RFC 7693), so that it reveals no arguments; empty
        without a key.

        Args:
            tool: that is called.
            params: of the call. Without `_meta`, whose values differ in each call (MCP basic).
            stopped: why it was stopped; other reasons give another mark.
        """
        if not self.contents_key:
            return ""
        pin = self.pin("tool", tool)
        defined = pin.approved_fingerprint if pin is not None else None
        reasons = sorted({f"{finding.rule} {finding.place}" for finding in stopped})
        parts = self.name, tool, defined or "", self.policy.version, *reasons
        if isinstance(params, dict):
            params = {key: item for key, item in params.items() if key != "_meta"}
        text = b"\0".join((*(part.encode("utf-8", "replace") for part in parts), canonical(params)))
        return blake2b(text, digest_size=MARK_BYTES, key=self.contents_key).hexdigest()

    @property
    def policy(self) -> Policy:
        """Actions for findings, and limits."""
        return self._fixed or self.shared.policy

    def snapshot(self, policy: Policy) -> Guard:
        """The guard with its current policy fixed, for all of a message.

        Otherwise a message judged while one policy replaces another could pass, although each of
        them stops it, one by its tools and the other by its rules.
        """
        twin = object.__new__(Guard)  # as `copy` does, in a third of the time
        twin.__dict__.update(self.__dict__, _fixed=policy)
        return twin

    @contextmanager
    def spare(self) -> Iterator[Guard]:
        """Lend the same guard to one other thread; each thread gets its own."""
        if not self.inspects:
            yield self
            return
        twin = copy(self)
        with self.source.spare() as twin.detector:
            yield twin

    def part(self, key: bytes) -> Guard:
        """Make the guard of another client, whose placeholders are signed with random bytes."""
        parted = copy(self)
        parted.source = self.source.part(key)
        parted.detector = parted.source.detector
        return parted

    def adopt(self, policy: Policy) -> frozenset[str]:
        """Replace the policy; return the kinds that a client should list again."""
        before, self.shared.policy = self.policy, policy
        if before.approved != policy.approved:
            return frozenset(self.pins.names.kinds)
        return frozenset({"tool"} if before.called_tools != policy.called_tools else ())

    def learn(self, change: PinChange, pin: Pin) -> Pin | None:
        """Remember a definition; return its stored pin, or None if there is no room."""
        seen, is_decided = (change.definition, change.fingerprint), change.reason == APPROVED
        if not change.is_held:
            new = Pin(*pin[:2], *seen, None, None, "", is_reviewed=is_decided)
        else:
            new = Pin(*pin[:4], *seen, change.reason, "", "", pin.is_reviewed, pin.rejected)
        return self.pins.learn(new, is_decided=is_decided)

    def repin(self, pins: PinsByKey) -> frozenset[str]:
        """Replace the pins with the store's; return the kinds that a client should list again.

        A definition that is held here stays held until it is accepted: the store may have
        discarded it, may not have it yet, or may have that of another run, while the server still
        offers it.
        """
        return self.pins.replace(_trust(pins, self.policy))


def _trust(pins: PinsByKey, policy: Policy) -> dict[PinKey, Pin]:
    """Pins of the store as they are trusted under a policy."""
    needs_review = policy.trust is Trust.REVIEW
    return {key: as_trusted(pin, needs_review=needs_review) for key, pin in pins.items()}
