"""Findings in a frame and the verdict on it: Finding, Action, Verdict. Values only."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import Enum, IntEnum

from pipeguard.records import NamedTuple


class Direction(Enum):
    """The direction in which a frame travels."""

    TO_SERVER = "to-server"
    TO_CLIENT = "to-client"

    __hash__ = object.__hash__  # members are singletons; Enum's own costs a call for each look-up

    @property
    def back(self) -> Direction:
        """The direction of the answers."""
        return Direction.TO_CLIENT if self is Direction.TO_SERVER else Direction.TO_SERVER


TO_SERVER = Direction.TO_SERVER
TO_CLIENT = Direction.TO_CLIENT


class Action(IntEnum):
    """The fate of a frame; the greatest of its findings' actions wins."""

    ALLOW = 0
    WARN = 1
    REDACT = 2  # placeholders take the place of secrets
    CUT = 3  # lines that say so take the place of passages
    ASK = 4  # a call waits until a person allows it, and is blocked otherwise
    BLOCK = 5


PARTIAL = (Action.REDACT, Action.CUT)  # take something out of a message


class Severity(IntEnum):
    """The damage that a true finding means."""

    INFO = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class Confidence(IntEnum):
    """The rule's certainty that a finding is true."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2


def raise_confidence(confidence: Confidence) -> Confidence:
    """One step more certain."""
    return Confidence(min(Confidence.HIGH, confidence + 1))


class MessageKind(Enum):
    """The kind of a JSON-RPC message (JSON-RPC 2.0, sections 4 and 5)."""

    REQUEST = "request"
    NOTIFICATION = "notification"
    RESULT = "result"
    ERROR = "error"

    __hash__ = object.__hash__  # as Direction's


class Drift(Enum):
    """Differences between a definition and the approved one, the gravest first."""

    INSTRUCTION_ADDED = "instruction-added"
    REQUIRED_PARAMETER_ADDED = "required-parameter-added"
    ANNOTATION_FLIPPED = "annotation-flipped"
    SCHEMA_WIDENED = "schema-widened"
    PARAMETER_ADDED = "parameter-added"
    PARAMETER_CHANGED = "parameter-changed"
    PARAMETER_REMOVED = "parameter-removed"
    OUTPUT_SCHEMA = "output-schema"
    WORDING = "wording"
    NAME_ONLY = "name-only"
    OTHER = "other"


class Finding(NamedTuple):
    """A finding of one rule.

    Attributes:
        rule: the rule's id, as `secrets.aws-access-key-id`: pack, dot, name.
        place: the name of the place in the message, as `call.arguments` (firewall.protocol.places).
        pointer: its JSON pointer (RFC 6901), as `/params/arguments/key`.
        start: offset of the first character in that string, in code points.
        end: offset after the last character; equal to start if no span is known.
        view: the reading in which it matched, as `text` or `base64>percent`.
        severity: how bad it is.
        confidence: how sure the rule is.
        action: the policy's decision.
        excerpt: the masked match, of at most 240 characters; at most 400 if it is a passage to cut,
            or ordered a call. Never a secret.
        note: one sentence that a check adds, without text of the message; or empty.
        tool: the definition or the called tool that it concerns, or None.
        content: the fingerprint of the text found, with the installation's key; or empty.
        path: the file that the call names, if it names one; or empty.
        host: the host that the call names, if it names one; or empty.
        would: the action with `mode: enforce`, if that is more; else None.
        call: the mark of the stopped call, with which a person can grant it once; or empty.
        arguments: of the call, for the person who decides about it: the JSON text of an object,
            with a dot for each character of a secret; or empty, as are all fields below.
        targets: how many of the arguments, the first ones, say to whom, where or how much, in
            decimal digits.
        unseen: how many characters of the arguments it lacks or masks, in decimal digits.
        lengths: of these arguments, in characters by name: the JSON text of an object.
        differs: how they differ from the last calls of the tool that passed, a line each.
        source: the tool whose result the call repeats.
        source_age: the seconds from that result to the call.
        marked: the word by which that result says that it is not for everybody.
        frame: the text around a secret in another message, masked.
        steps: of rating the confidence, each with the confidence after it.
        match: where the match begins in a passage to cut, which may begin long before it.
    """

    rule: str
    place: str
    pointer: str = ""
    start: int = 0
    end: int = 0
    view: str = "text"
    severity: Severity = Severity.HIGH
    confidence: Confidence = Confidence.HIGH
    action: Action = Action.BLOCK
    excerpt: str = ""
    note: str = ""
    tool: str | None = None
    content: str = ""
    path: str = ""
    host: str = ""
    would: Action | None = None
    call: str = ""
    arguments: str = ""
    targets: str = ""
    unseen: str = ""
    lengths: str = ""
    differs: str = ""
    source: str = ""
    source_age: str = ""
    marked: str = ""
    frame: str = ""
    steps: tuple[str, ...] = ()
    match: int = 0


Findings = tuple[Finding, ...]
# The fields of a finding for the person who decides, which the audit keeps whole.
SHOWN = (
    *("arguments", "targets", "unseen", "lengths", "differs"),
    *("source", "source_age", "marked", "frame"),
)


def tells_private(rule: str) -> bool:
    """True for the id of a rule that finds credentials, or numbers of persons."""
    return rule.startswith(("secrets.", "personal."))


def have_private(findings: Iterable[Finding]) -> bool:
    """True if credentials, or numbers of persons, were found."""
    return any(tells_private(finding.rule) for finding in findings)


def observe_only(finding: Finding) -> Finding:
    """A finding that stops nothing, with the action it would have as `would`."""
    if finding.action <= Action.WARN:
        return finding
    return finding._replace(action=Action.WARN, would=finding.action)


def enforced_action(finding: Finding) -> Action:
    """The action of a finding under `mode: enforce`."""
    return finding.action if finding.would is None else finding.would


class PinChange(NamedTuple):
    """A definition that is new, or that differs from its pin; for the store.

    Attributes:
        kind: `tool`, `prompt`, `resource`, `template` or `server`.
        name: the definition's own key: name, uri, uriTemplate, or `instructions`.
        fingerprint: SHA-256 of its canonical JSON, 64 hex digits.
        definition: its JSON text, with its keys in the order in which it was judged.
        is_held: True if it may not be used until a person approves it; False if it is trusted from
            now on (trust on first use).
        reason: why it is held: `drift: wording`, `review`, `poisoned: <rule>`, `withdrawn`; or
            empty. Of one that is not held: that the organisation approved it.
    """

    kind: str
    name: str
    fingerprint: str
    definition: str
    is_held: bool
    reason: str


class Verdict(NamedTuple):  # a tuple, because there is one for each frame: it is made in 0.5 us
    """The outcome for one frame.

    Attributes:
        direction: which way the frame travelled.
        frame: the bytes that came, whole.
        action: the greatest action of the findings.
        forward: the bytes to forward; `frame` itself if it is allowed; None if nothing is.
        reply: the bytes that go back to the sender, or None.
        findings: the most serious first.
        event: names this verdict in audit, log and answers, as `K7Q2M9D4.c12`.
        kind: of the message, or None if it could not be read.
        method: the method, for an answer that of its request; None if unknown.
        tool: the called tool's name for tools/call and its answer, else None.
        pins: definitions to remember.
        request_bytes: for the answer to a request, the length of the request's frame, else None.
        answer_seconds: how long that answer took, on the session's clock.
        members: of a batch, the verdicts on its messages.
        apart: the frames in `forward`, if each is sent by itself to a reader without batches.
        own: further frames that go on, of PipeGuard's own: each with its verdict, which is recorded
            by itself.
        grant: the event that a person allowed, if that let the call pass; or empty.
        since: of a call that waits for a person, when it came, on the session's clock; else None.
        question: the id of PipeGuard's own request that the frame answers; or empty.
        kinds: of definitions that changed, which clients should list again.
        is_repeated: True if the frame repeats a call that was answered with a question, and was
            refused because nobody brought what is known of it (session.decisions.Repeated).
        headers: the names, in lower case, of a client's HTTP headers that may be forwarded.
        is_unfinished: True if judging the frame would have taken too long: nothing has changed.
    """

    direction: Direction
    frame: bytes
    action: Action
    forward: bytes | None
    reply: bytes | None
    findings: Findings = ()
    event: str = ""
    kind: MessageKind | None = None
    method: str | None = None
    tool: str | None = None
    pins: tuple[PinChange, ...] = ()
    request_bytes: int | None = None
    answer_seconds: float | None = None
    members: tuple[Verdict, ...] = ()
    apart: tuple[bytes, ...] = ()
    own: tuple[Verdict, ...] = ()
    grant: str = ""
    since: float | None = None
    question: str = ""
    kinds: frozenset[str] = frozenset()
    is_repeated: bool = False
    headers: frozenset[str] = frozenset()
    is_unfinished: bool = False

    @property
    def forwards(self) -> tuple[bytes, ...]:
        """The frames to forward, one after the other."""
        return self.apart or (() if self.forward is None else (self.forward,))

    @property
    def own_frames(self) -> list[bytes]:
        """The frames of PipeGuard's own."""
        return [frame for own in self.own for frame in own.forwards]

    @property
    def mark(self) -> str:
        """The mark with which a person can grant the stopped call once; or empty."""
        return next((finding.call for finding in self.findings if finding.call), "")

    def with_findings(
        self, frame: bytes, findings: Iterable[Finding], pins: tuple[PinChange, ...] = ()
    ) -> Verdict:
        """The verdict on the frame that came, with more findings and definitions to remember."""
        all_findings = (*self.findings, *findings)
        return self._replace(
            frame=frame, action=greatest(all_findings), findings=all_findings, pins=self.pins + pins
        )


NOTHING = Verdict(Direction.TO_CLIENT, b"", Action.ALLOW, None, None)  # nothing happens


def worst(findings: Iterable[Finding]) -> Finding:
    """The finding that a refusal reports."""
    return max(findings, key=_gravity)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """The findings as messages, the audit and pages show them: the most telling first."""
    return sorted(findings, key=_gravity, reverse=True)


def _gravity(finding: Finding) -> tuple[Action, bool, Severity, Confidence]:
    """Order by action; then patterns, whose rules name their finding, before classifiers."""
    is_named = not finding.rule.endswith(".classifier")
    return finding.action, is_named, finding.severity, finding.confidence


def greatest(findings: Collection[Finding]) -> Action:
    """The greatest action of the findings; ALLOW without findings."""
    if not findings:
        return Action.ALLOW
    return max(finding.action for finding in findings)


def name_is_secret(findings: Collection[Finding]) -> bool:
    """True if the name of the item used or defined holds a secret, so no finding may repeat it.

    A name is a tool's or a prompt's own, or an address; a completion and a subscription refer to
    one, too.
    """
    return any(
        (f.place.endswith((".name", ".uri")) or f.pointer.startswith(_REFERENCES))
        and tells_private(f.rule)
        for f in findings
    )


_REFERENCES = ("/params/ref/", "/params/notifications/")


def method_is_secret(findings: Collection[Finding]) -> bool:
    """True if a method contains a secret, so that it must not be repeated."""
    return any(f.pointer == "/method" and tells_private(f.rule) for f in findings)


def make_block(rule: str, why: str) -> Finding:
    """A finding that stops the message."""
    return Finding(rule, "envelope", action=Action.BLOCK, note=why)


def make_warning(rule: str, why: str) -> Finding:
    """A finding that does not stop its message."""
    return Finding(rule, "envelope", severity=Severity.MEDIUM, action=Action.WARN, note=why)


def make_drop(rule: str, why: str) -> list[Finding]:
    """The one finding about a dropped notification, which does no harm."""
    return [Finding(rule, "envelope", severity=Severity.LOW, action=Action.BLOCK, note=why)]


def counted_once(findings: list[Finding], rule: str) -> list[Finding]:
    """The findings, with one rule's findings, which all say the same, merged into one."""
    same = [finding for finding in findings if finding.rule == rule]
    if len(same) < 2:
        return findings
    first = same[0]._replace(note=f"{same[0].note} ({len(same)} of them here)")
    return [first, *(finding for finding in findings if finding.rule != rule)]


def blocked_whole(finding: Finding) -> Finding:
    """A finding in a definition, where nothing is redacted."""
    if finding.would in PARTIAL:
        finding = finding._replace(would=Action.BLOCK)
    return finding._replace(action=Action.BLOCK) if finding.action in PARTIAL else finding
