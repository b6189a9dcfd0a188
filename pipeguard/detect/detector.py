"""The detector of one server: the firewall's interface to detection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

from pipeguard.detect.flows.known_secrets import KnownSecrets, without_known_secrets
from pipeguard.detect.flows.tool_labels import Label, Tool, make_tool
from pipeguard.detect.flows.vault import Vault
from pipeguard.detect.knowledge import LastingNames, Scanners
from pipeguard.detect.plain import PlainLook
from pipeguard.detect.restoring import put_back, put_passages_back
from pipeguard.firewall.finding import Finding, Verdict, tells_private
from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.firewall.pins.store import PinKey
from pipeguard.firewall.policy import Policy
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.protocol.message import Message
from pipeguard.firewall.protocol.pending import NAMING, NO_CALL, PendingRequest, Targets
from pipeguard.firewall.protocol.places import Surface
from pipeguard.firewall.session.guard import Guard
from pipeguard.firewall.session.rewrite import CUT_SIGN, cut_line, placeholder
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

    def over(self, surface: Surface) -> list[Engine]:
        """The engines that have rules for a surface."""
        return [engine for engine in self if surface in engine.rules.surfaces]


class Detection(PlainLook):
    """Detection for one server and client.

    Args:
        engines: returns the compiled rules, which known first answers do not need.
        key: random bytes of this run, which sign its placeholders; without them, secrets taken
            out of the server's messages are never put back.
        known_secrets: PipeGuard's own, which no server may repeat.
        lasting: names of texts in which earlier runs of these rules found nothing.
    """

    def __init__(
        self,
        engines: Callable[[], Engines],
        key: bytes = b"",
        known_secrets: KnownSecrets | None = None,
        lasting: LastingNames | None = None,
    ) -> None:
        own = KnownSecrets() if known_secrets is None else known_secrets
        super().__init__(lambda: _scanners(engines()), key, own, lasting)
        # Shared by all detectors of the server:
        self._engines, self._loading, self._loaded = engines, Lock(), Event()
        self._spare_scanners: list[Scanners] = []  # of no thread now

    @contextmanager
    def spare(self) -> Iterator[Detection]:
        """Lend the same detector, with its own engines, to one other thread."""
        twin = copy(self)
        try:
            twin.scanners = self._spare_scanners.pop()
        except IndexError:
            twin.scanners = _scanners(Engines(*(engine.clone() for engine in self._engines())))
        try:
            yield twin
        finally:
            self._spare_scanners.append(twin.scanners)

    def part(self, key: bytes) -> Detection:
        """Make the detector of another client, with its own flows and vault."""
        parted = copy(self)
        parted.scanners = self.scanners
        parted.vault = Vault(key) if self.vault is not None else None
        parted.flows = self.flows.part()
        return parted

    # --- loading ------------------------------------------------------------------------

    @property
    def is_loaded(self) -> bool:
        """True once all files are loaded."""
        return self._loaded.is_set()

    def load(self, surface: Surface) -> None:
        """Load the engines of a surface before its first text comes.

        Raises:
            EngineError: compiled rules are damaged; the first text would be refused.
        """
        for engine in self.scanners[surface]:
            engine.load()

    def prepare(self) -> None:
        """Load everything for the first list of definitions, before anybody waits; in any thread.

        Raises:
            EngineError: compiled rules are damaged; the first text would be refused.
        """
        for engine in self.scanners[Surface.DEFINITIONS]:
            engine.prepare()
            engine.load_models()  # some text of any list is read by a model
        make_tool("list", {"description": "Lists."})  # compiles the patterns for any tool's words
        self.name_targets("tools/call", "list", None, 0)  # imports the reader of a call's arguments

    def load_all(self) -> None:
        """Load everything that a text may need, in any thread, before the first text comes.

        Raises:
            EngineError: compiled rules or a model are damaged; the first text would be refused.
        """
        with self._loading:
            if not self._loaded.is_set():
                for surface in self.scanners:
                    self.load(surface)
                self.prepare()
                for engine in self._engines():
                    engine.load_models()
                self._loaded.set()

    # --- the firewall's interface -------------------------------------------------------

    def show(
        self, guard: Guard, tool: str | None, message: Message, findings: Sequence[Finding]
    ) -> dict[str, Any]:
        """Show a stopped message to a person, without secrets; as far as that does not fail."""
        from pipeguard.detect import shown_call  # most runs stop nothing

        try:
            if tool is None:
                return {"frame": shown_call.show_frame(self, message, findings)}
            return shown_call.show_call(self, self.tool(guard, tool), message, findings)
        except Exception:  # noqa: BLE001  the message is stopped, or redacted, without it
            return {} if tool is None else {"unseen": str(len(message.frame))}

    def name_targets(
        self, method: str, tool: str | None, params: JsonValue | bytes, frame_bytes: int
    ) -> Targets:
        """Name the files and hosts that a request is about, by its params or by its frame."""
        if method not in NAMING:
            return NO_CALL
        from pipeguard.detect.commands.call_names import find_targets  # which no first answer needs

        return find_targets(method, tool, params, frame_bytes)

    def record_request(
        self,
        guard: Guard,
        tool: str,
        frame: bytes,
        findings: Sequence[Finding],
        *,
        is_granted: bool,
    ) -> None:
        """Remember a call that is forwarded."""
        if not is_granted:  # an order from a text does not count as the client's word
            self.flows.record_request(frame)
        is_private = bool(findings) and any(tells_private(finding.rule) for finding in findings)
        self.flows.record_passed(self.tool(guard, tool), b"" if is_private else frame)

    def settle_call(self, event: str, *, went_on: bool) -> None:
        """Count a judged call as sent, or forget it."""
        self.flows.settle(event, went_on=went_on)

    def record_result(
        self, guard: Guard, request: PendingRequest, frame: bytes, now: float
    ) -> None:
        """Remember the result of a request, even if it was blocked."""
        name, method = request.tool, request.method
        known = Tool(method, Label.NONE, guard.name) if name is None else self.tool(guard, name)
        self.flows.record_result(known, frame, now, request.call_values)

    def mask_own(self, policy: Policy, message: Message) -> tuple[Message, Finding | None]:
        """Mask PipeGuard's own secrets in a message of the server."""
        return without_known_secrets(self.known_secrets, policy, message)

    def restore(self, verdict: Verdict) -> Verdict:
        """Put secrets back into messages to the server that they came from."""
        if self.vault is None or self.vault.is_empty:
            return verdict
        return put_back(self.vault, verdict)

    def make_placeholder(self, rule: str, text: str) -> str:
        """Make the placeholder for text that is taken out of a message to the client."""
        return placeholder(rule) if self.vault is None else self.vault.placeholder(rule, text)

    def make_line(self, rule: str, passage: str, source: str, event: str) -> str:
        """Make the line in place of a passage, and remember the passage."""
        line = cut_line(rule, passage, event, self.sign)
        if self.vault is not None:  # without a key, two passages may have the same line
            self.flows.passages.keep(line, passage, source)
        return line

    def put_back(self, guard: Guard, message: Message) -> tuple[Message, Finding | None]:
        """Put passages back into a request, unless it would run them: a shell reads them again."""
        if CUT_SIGN.encode() not in message.frame and b"\\u" not in message.frame:
            return message, None
        params = message.value.get("params")
        name = params.get("name") if isinstance(params, dict) else None
        is_run = isinstance(name, str) and self.tool(guard, name).labels & Label.RUNS
        return (message, None) if is_run else put_passages_back(self.flows.passages, message)


def make_guard(
    name: str, engines: Engines, policy: Policy, pins: Mapping[PinKey, Pin], key: bytes = b""
) -> Guard:
    """Make the guard of a server whose texts these rules judge.

    Args:
        name: the server's, under which its pins are stored.
        engines: the compiled rules.
        policy: the actions for findings.
        pins: by kind and name.
        key: random bytes of this run, as for `Detection`.
    """
    return Guard(name, Detection(lambda: engines, key), policy, pins)


def get_detection(guard: Guard) -> Detection:
    """The detection of a guard from `make_guard`."""
    detector = guard.detector
    assert isinstance(detector, Detection)  # noqa: S101  there is no other
    return detector


def _scanners(engines: Engines) -> Scanners:
    """The engines by surface.

    An engine is for one thread, and each rule is in one engine. The rules for both directions are
    therefore in two engines over one database.
    """
    back = Engines(engines.to_server.clone(), engines.to_client, engines.definitions)
    return {
        surface: tuple((engines if surface is Surface.TO_SERVER else back).over(surface))
        for surface in Surface
    }
