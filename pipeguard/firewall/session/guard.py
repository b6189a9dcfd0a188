"""What is known of one server and outlives a conversation: rules, policy, pins.

All Sessions with the server share it. Pins are replaced as a whole when the store has new ones, so
that a Session sees all of an approval or nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from threading import Lock
from typing import NamedTuple, Protocol

from pipeguard.detect.flows.known_secrets import KnownSecrets
from pipeguard.detect.flows.ledger import Flows
from pipeguard.detect.flows.tool_labels import Tool, tool_of
from pipeguard.detect.flows.vault import Vault
from pipeguard.detect.scanning.engine import Engine
from pipeguard.firewall.finding import Finding
from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.firewall.pins.holds import PinKey, as_trusted
from pipeguard.firewall.pins.lookalikes import Names
from pipeguard.firewall.pins.store import Pins
from pipeguard.firewall.policy import Policy, Trust
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.firewall.protocol.places import Surface

__all__ = ("Engines", "Guard", "PinKey")


class Engines(NamedTuple):
    """The compiled rules. Each rule is in one engine, whatever surfaces it applies to.

    Attributes:
        to_server: the rules for what goes to the server, some of which apply to more.
        to_client: those of the rest that apply to what goes to the client.
        definitions: those that apply to definitions only.
    """

    to_server: Engine
    to_client: Engine
    definitions: Engine

    def over(self, surface: Surface) -> list[Engine]:
        """The engines that have rules for a surface."""
        return [
            engine
            for engine in (self.to_server, self.to_client, self.definitions)
            if surface in engine.surfaces
        ]


# PipeGuard's own words about an answer, for its reader, and findings for the audit.
AnswerNote = tuple[str, tuple[Finding, ...]]


class FailureNotes(Protocol):
    """Obstacles that a server met outside its frames.

    `catch_up` belongs to the transport; the session calls the others, which do no I/O.
    """

    def catch_up(self) -> None:
        """Learn of all obstacles until now."""

    def add_caller(self, conversation: str) -> None:
        """Note that a conversation calls tools of the server."""

    def note_on(
        self, answer: JsonObject, tool: str, event: str, since: float, now: float
    ) -> AnswerNote | None:
        """Explain a failed answer; None for any other.

        Args:
            answer: before it is judged.
            tool: that was called, or empty.
            event: names the verdict on the answer.
            since: when the request was judged, on the session's clock.
            now: when the answer is judged.
        """


class _Shared:
    """What all guards of a server share: replacing it here replaces it for each of them."""

    __slots__ = ("is_loaded", "loading", "notes", "pins", "policy")

    def __init__(self, policy: Policy, pins: Pins) -> None:
        self.policy = policy
        self.pins = pins
        self.notes: FailureNotes | None = None
        self.is_loaded, self.loading = False, Lock()


class Guard:
    """The rules, the policy and the pins of one server.

    A guard is for the two threads of its scanners, one for each direction. `spare` gives one for
    any other thread, and `part` one for another client. All of them share policy and pins: what
    one learns or adopts, all know from then on.

    Attributes:
        name: the server's, under which its pins are stored.
        engines: the compiled rules.
        vault: the secrets that were taken out of what it said, to be put back into what goes to
            it; or None.
        scanners: the engines that have rules for each surface.
        flows: what went through it lately.
        known_secrets: PipeGuard's own secrets, which are removed from what it says.
        is_remote: True where the server is on another machine.
        contents_key: the installation's, with which fingerprints of findings are made; without it
            no exception holds for a content.
        inspects: False where others judge what the messages say, and only the protocol is checked.
    """

    def __init__(
        self,
        name: str,
        engines: Engines,
        policy: Policy,
        pins: Mapping[PinKey, Pin],
        key: bytes = b"",
    ) -> None:
        """Know a server.

        Args:
            name: the server's, under which its pins are stored.
            engines: the compiled rules.
            policy: what to do about findings.
            pins: by kind and name.
            key: random bytes of this run, which sign its placeholders; without them, what is
                taken out of what the server says is never put back.
        """
        self.name = name
        self.vault = Vault(key) if key else None
        self.engines = engines
        self.scanners = _scanners(engines)
        self._spare_scanners: list[dict[Surface, tuple[Engine, ...]]] = []  # of no thread now
        self.flows = Flows()
        self.known_secrets = KnownSecrets()
        self.is_remote = False
        self.contents_key = b""
        self.inspects = True
        self._shared = _Shared(policy, Pins(_trusted(pins, policy), name))
        self._fixed: Policy | None = None  # in place of the one that is shared

    @property
    def notes(self) -> FailureNotes | None:
        """Notes on failed answers of the server, for all clients; None for most servers."""
        return self._shared.notes

    @notes.setter
    def notes(self, notes: FailureNotes) -> None:
        self._shared.notes = notes

    @property
    def policy(self) -> Policy:
        """What to do about findings."""
        return self._fixed or self._shared.policy

    def fixed(self) -> Guard:
        """The same guard, whose policy no longer changes: each message is judged by one.

        What one policy stops by its tools and another by its rules would else pass a message that
        is judged while the one replaces the other.
        """
        twin = copy(self)
        twin._fixed = self._shared.policy
        return twin

    @property
    def pins(self) -> Mapping[PinKey, Pin]:
        """All pins as they are now, by kind and name; the mapping does not change afterwards."""
        return self._shared.pins.all()

    @contextmanager
    def spare(self) -> Iterator[Guard]:
        """The same guard with engines of its own, for one other thread; each gets another one."""
        if not self.inspects:
            yield self
            return
        twin = copy(self)
        try:
            twin.scanners = self._spare_scanners.pop()
        except IndexError:
            twin.scanners = _scanners(Engines(*(engine.clone() for engine in self.engines)))
        try:
            yield twin
        finally:
            self._spare_scanners.append(twin.scanners)

    def part(self, key: bytes) -> Guard:
        """The same guard for one of several clients, with flows and a vault of its own.

        Args:
            key: random bytes that sign its placeholders.
        """
        parted = copy(self)
        parted.vault = Vault(key) if self.vault is not None else None
        parted.flows = self.flows.part()
        return parted

    def adopt(self, policy: Policy) -> None:
        """Replace the policy."""
        self._shared.policy = policy

    def load(self, surface: Surface) -> None:
        """Load the engines of a surface before its first text comes.

        Raises:
            EngineError: compiled rules are damaged; the first text would be refused.
        """
        for engine in self.scanners[surface]:
            engine.load()

    def prepare(self) -> None:
        """Read what the first list of definitions needs, while nobody waits; in any thread.

        Raises:
            EngineError: compiled rules are damaged; the first text would be refused.
        """
        for engine in self.scanners[Surface.DEFINITIONS]:
            engine.prepare()
        tool_of("list", {"description": "Lists."})  # compiles what reads the words of any tool

    @property
    def is_loaded(self) -> bool:
        """True once no text waits for a file."""
        return self._shared.is_loaded or not self.inspects

    def load_all(self) -> None:
        """Load all that any text may need, in any thread, before the first text comes.

        Raises:
            EngineError: compiled rules or a model are damaged; the first text would be refused.
        """
        with self._shared.loading:
            if not self.is_loaded:
                for surface in self.scanners:
                    self.load(surface)
                self.prepare()
                for engine in self.engines:
                    engine.load_models()
                self._shared.is_loaded = True

    def repin(self, pins: Mapping[PinKey, Pin]) -> frozenset[str]:
        """Replace the pins by those of the store.

        A definition that is held here stays held until it is accepted: the store may have
        discarded it, may not have it yet, or may have that of another run, while the server still
        offers it.

        Returns:
            The kinds that changed, which a client should list again.
        """
        return self._shared.pins.replace(_trusted(pins, self.policy))

    def pin(self, kind: str, name: str) -> Pin | None:
        """The pin of one definition, or None."""
        return self._shared.pins.of(kind, name)

    def knows_all(self, kind: str) -> bool:
        """False once there was no room for a definition of a kind."""
        return not self._shared.pins.are_full(kind)

    @property
    def names(self) -> Names:
        """The names of the pins, by how they look."""
        return self._shared.pins.names

    def tool(self, name: str) -> Tool:
        """What a tool does, by its trusted definition."""
        return self._shared.pins.tool(name)

    def stays_here(self) -> bool:
        """True where the server runs here, and none of its tools reaches beyond this machine."""
        return not self.is_remote and not self._shared.pins.reach_out()

    def learn(self, pin: Pin) -> Pin | None:
        """Remember a definition for this run; the store learns it from the Verdict.

        Returns:
            What is remembered, or None if there is no room for it.
        """
        return self._shared.pins.learn(pin)

    def confirm(self, pin: Pin) -> bool:
        """Note that the server offers a definition as it is approved (`Pins.confirm`)."""
        return self._shared.pins.confirm(pin)

    def is_unstored(self, kind: str, name: str) -> bool:
        """True for a hold that the store lacks, though no person has decided on it."""
        return self._shared.pins.is_unstored(kind, name)


def _trusted(pins: Mapping[PinKey, Pin], policy: Policy) -> dict[PinKey, Pin]:
    """Pins of the store as they are trusted under a policy."""
    needs_review = policy.trust is Trust.REVIEW
    return {key: as_trusted(pin, needs_review=needs_review) for key, pin in pins.items()}


def _scanners(engines: Engines) -> dict[Surface, tuple[Engine, ...]]:
    """The engines by surface.

    An engine is for one thread, and each rule is in one engine. The rules for both directions are
    therefore in two engines over one database.
    """
    back = Engines(engines.to_server.clone(), engines.to_client, engines.definitions)
    return {
        Surface.TO_SERVER: tuple(engines.over(Surface.TO_SERVER)),
        Surface.TO_CLIENT: tuple(back.over(Surface.TO_CLIENT)),
        Surface.DEFINITIONS: tuple(back.over(Surface.DEFINITIONS)),
    }
