"""The detector of one server: the firewall's interface to detection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

from pipeguard.allocator import return_freed_memory
from pipeguard.detect import clean_texts, plain, restoring
from pipeguard.detect.findings import find_leaks, read_message, read_part
from pipeguard.detect.flows import ledger, text_values, tool_labels
from pipeguard.detect.flows.known_secrets import KnownSecrets, without_known_secrets
from pipeguard.detect.flows.notes import needs_notes
from pipeguard.detect.flows.vault import Vault
from pipeguard.detect.knowledge import Knowledge, Scanners, ToolLabels
from pipeguard.firewall.finding import (
    Action,
    Direction,
    Finding,
    MessageKind,
    Verdict,
    have_private,
    tells_private,
)
from pipeguard.firewall.pins.store import PinsByKey
from pipeguard.firewall.policy import Policy
from pipeguard.firewall.protocol import json_values, pending
from pipeguard.firewall.protocol.message import Message
from pipeguard.firewall.protocol.places import Surface
from pipeguard.firewall.session.guard import Context, Guard, PreparedMessage
from pipeguard.firewall.session.memory import CallEvent, SentCall, SettledCall
from pipeguard.firewall.session.rewrite import cut_line, placeholder
from pipeguard.records import NamedTuple

if TYPE_CHECKING:
    from pipeguard.detect.scanning.engine import Engine


class Engines(NamedTuple):
    """The compiled rules. Each rule is in one engine, whatever surfaces it applies to.

    Attributes:
        to_server: the rules for messages to the server, some of which apply to more.
        to_client: the other rules that apply to messages to the client.
        definitions: the rules that apply to definitions only.
    """

    to_server: Engine
    to_client: Engine
    definitions: Engine

    def over(self, surface: Surface) -> tuple[Engine, ...]:
        """The engines that have rules for a surface."""
        return tuple(engine for engine in self if surface in engine.rules.surfaces)


class _Scanners(dict[Surface, "tuple[Engine, ...]"]):
    """The engines that have rules for each surface, made when one is first needed.

    An engine is for one thread, and each rule is in one engine. The rules for both directions are
    therefore in two engines over one database.
    """

    def __init__(self, engines: Callable[[], Engines]) -> None:
        self._engines, self._lock = engines, Lock()

    def __missing__(self, surface: Surface) -> tuple[Engine, ...]:
        with self._lock:  # two threads may need them at once
            if not self:
                engines = self._engines()
                back = engines._replace(to_server=engines.to_server.clone())
                made = {surface: back.over(surface) for surface in Surface}
                self.update(made | {Surface.TO_SERVER: engines.over(Surface.TO_SERVER)})
        return self[surface]


class Detection:
    """Detection for one server and client.

    Attributes:
        knowledge: of the server and its client.
    """

    def __init__(self, knowledge: Knowledge) -> None:
        self.knowledge = knowledge

    @property
    def ledger(self) -> ledger.Flows:
        """The ledger of the server's client."""
        return self.knowledge.flows

    def look(self, direction: Direction, frame: bytes) -> plain.OutlinedFrame | None:
        """Look at a short tool call, or a result; None for any frame that needs its value."""
        return plain.look_at_frame(self.knowledge, direction, frame)

    def prepare(self, guard: Guard, direction: Direction, message: Message) -> PreparedMessage:
        """Mask PipeGuard's own secrets in a message, or put passages back; say what it names."""
        knowledge = self.knowledge
        if direction is Direction.TO_CLIENT:
            return PreparedMessage(
                *without_known_secrets(knowledge.known_secrets, guard.policy, message)
            )
        message, change = restoring.put_passages_back(knowledge, guard, message)
        method = message.method
        if method not in pending.NAMING:
            return PreparedMessage(message, change)
        from pipeguard.detect.commands.call_names import find_targets  # no first answer needs it

        name = message.params.get("name") if method == "tools/call" else None
        tool = name if type(name) is str else None
        call = find_targets(method, tool, message.params, len(message.frame))
        values = text_values.list_short_values(message.params.get("arguments"))
        return PreparedMessage(message, change, call, values)

    def read(
        self, context: Context, surface: Surface, value: json_values.JsonValue
    ) -> list[Finding]:
        """Find threats in a value, and leaks through a request."""
        knowledge, message = self.knowledge, context.message
        if message is None:
            return read_part(knowledge, context, surface, value)
        findings = []
        if not context.is_clean:
            findings += read_message(knowledge, context, surface, message, value)
        if message.kind is MessageKind.REQUEST and context.original is None:
            findings += find_leaks(knowledge, context, message)
        return findings

    def read_content(self, context: Context, content: json_values.JsonObject) -> list[Finding]:
        """Find threats in a file of a skill or a page, besides those of any result."""
        from pipeguard.detect.contents import read_content  # few servers have any

        return read_content(self.knowledge, context, content)

    def replace(self, finding: Finding, words: str, source: str, event: str) -> str:
        """Replace the words of a finding: a passage by a line, a secret by its placeholder."""
        rule, vault = finding.rule, self.knowledge.vault
        if finding.action is Action.CUT:
            line = cut_line(rule, words, event, vault.sign)
            if vault.key:  # without a key, two passages may have the same line
                self.knowledge.flows.passages.keep(line, words, source)
            return line
        if tells_private(rule):
            return vault.placeholder(rule, words)
        return placeholder(rule)  # no secret, so it is never put back

    def restore(self, verdict: Verdict) -> Verdict:
        """Put secrets back into a message to the server that they came from."""
        if verdict.direction is Direction.TO_SERVER:
            return restoring.put_back(self.knowledge.vault, verdict)
        return verdict

    def show(
        self, guard: Guard, tool: str | None, message: Message, findings: Sequence[Finding]
    ) -> dict[str, Any]:
        """Show a stopped message to a person, without secrets; as far as that does not fail."""
        from pipeguard.detect import shown_call  # most runs stop nothing

        try:
            if tool is None:
                return {"frame": shown_call.show_frame(self.knowledge, message, findings)}
            labelled = self.knowledge.tools.label(guard, tool)
            return shown_call.show_call(self.knowledge, labelled, message, findings)
        except Exception:  # noqa: BLE001  the message is stopped, or redacted, without it
            return {} if tool is None else {"unseen": str(len(message.frame))}

    def needs_notes(self, guard: Guard, tool: str) -> bool:
        """True if calls of a tool are judged by the notes of the client's other ledgers, too."""
        return needs_notes(self.knowledge.tools.label(guard, tool))

    def remember(self, guard: Guard, event: CallEvent) -> None:
        """Remember what became of a call."""
        knowledge = self.knowledge
        flows, tools = knowledge.flows, knowledge.tools
        if isinstance(event, SentCall):
            tool = tools.label(guard, event.tool)
            # An order from a text or a page does not count as the client's word.
            if not event.is_granted and not text_values.is_posted(event.frame):
                flows.record_request(event.frame, tool)
            is_private = bool(event.findings) and have_private(event.findings)
            flows.record_passed(tool, b"" if is_private else event.frame)
        elif isinstance(event, SettledCall):
            flows.settle(event.event, went_on=event.is_sent)
        else:
            request = event.request
            if request.tool is None:
                tool = tool_labels.Tool(request.method, tool_labels.Label.NONE, guard.name)
            else:
                tool = tools.label(guard, request.tool)
            flows.record_result(tool, event.frame, event.now, request.call_values)


class DetectionSource:
    """Detection for one server: loads its engines, and makes the detectors that share them.

    Args:
        engines: returns the compiled rules, which known first answers do not need.
        key: random bytes of this run, which sign its placeholders; without them, secrets taken
            out of the server's messages are never put back.
        known_secrets: PipeGuard's own, which no server may repeat.
        lasting: names of texts in which earlier runs of these rules found nothing.

    Attributes:
        detector: for the two threads of one client's pump.
    """

    def __init__(
        self,
        engines: Callable[[], Engines],
        key: bytes = b"",
        known_secrets: KnownSecrets | None = None,
        lasting: clean_texts.LastingNames | None = None,
    ) -> None:
        # Shared by the sources of all clients of the server:
        self._engines, self._scanners = engines, _Scanners(engines)
        self._loading, self._loaded = Lock(), Event()
        self._spare: list[Scanners] = []  # of no thread now
        self.detector = Detection(
            Knowledge(
                self._scanners,
                Vault(key),
                ledger.Flows(),
                KnownSecrets() if known_secrets is None else known_secrets,
                ToolLabels(),
                clean_texts.CleanTexts(lasting),
            )
        )

    @contextmanager
    def spare(self) -> Iterator[Detection]:
        """Lend the same detector, with its own engines, to one other thread."""
        try:
            scanners = self._spare.pop()
        except IndexError:
            scanners = _Scanners(lambda: Engines(*(engine.clone() for engine in self._engines())))
        try:
            yield Detection(self.detector.knowledge._replace(scanners=scanners))
        finally:
            self._spare.append(scanners)

    def part(self, key: bytes) -> DetectionSource:
        """Make the source of another client's detectors, with its own flows and vault."""
        parted, knowledge = copy(self), self.detector.knowledge
        parted.detector = Detection(
            knowledge._replace(vault=Vault(key), flows=knowledge.flows.part())
        )
        return parted

    @property
    def is_loaded(self) -> bool:
        """True once all files are loaded."""
        return self._loaded.is_set()

    def load(self, surface: Surface) -> None:
        """Load the engines of a surface before its first text comes.

        Raises:
            EngineError: compiled rules are damaged; the first text would be refused.
        """
        for engine in self._scanners[surface]:
            engine.load()

    def prepare(self, surface: Surface) -> None:
        """Load everything for the first texts of a surface, before anybody waits; in any thread.

        Raises:
            EngineError: compiled rules are damaged; the first text would be refused.
        """
        for engine in self._scanners[surface]:
            engine.prepare()
        # Compile the patterns for any tool's words.
        tool_labels.make_tool("list", {"description": "Lists."})
        import pipeguard.detect.commands.call_names  # noqa: F401  reads a call's arguments

        return_freed_memory()  # of what the files were read into

    def load_all(self) -> None:
        """Load everything that a text may need, in any thread, before the first text comes.

        Raises:
            EngineError: compiled rules or a model are damaged; the first text would be refused.
        """
        with self._loading:
            if not self._loaded.is_set():
                for surface in Surface:
                    self.load(surface)
                    self.prepare(surface)
                self._loaded.set()


def make_guard(
    name: str,
    engines: Engines,
    policy: Policy,
    pins: PinsByKey,
    key: bytes = b"",
) -> Guard:
    """Make the guard of a server whose texts these rules judge.

    Args:
        name: the server's, under which its pins are stored.
        engines: the compiled rules.
        policy: the actions for findings.
        pins: by kind and name.
        key: random bytes of this run, as for `DetectionSource`.
    """
    return Guard(name, DetectionSource(lambda: engines, key), policy, pins)


def get_detection(guard: Guard) -> Detection:
    """The detection of a guard from `make_guard`."""
    detector = guard.detector
    assert isinstance(detector, Detection)  # noqa: S101  there is no other
    return detector


def use_flows(guard: Guard, flows: ledger.Flows) -> None:
    """Remember the calls and results of a guard in another ledger."""
    detection = get_detection(guard)
    detection.knowledge = detection.knowledge._replace(flows=flows)
