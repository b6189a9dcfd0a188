"""What is known about one server and outlives a conversation: rules, policy, pins.

Its Sessions share it. Pins are replaced as a whole when the store has new ones, so that a
Session sees either all of an approval or nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from threading import Lock
from typing import NamedTuple

from pipeguard.core.flows.known_secrets import KnownSecrets
from pipeguard.core.flows.ledger import Flows
from pipeguard.core.flows.tool_labels import Tool
from pipeguard.core.flows.vault import Vault
from pipeguard.core.pins.fingerprint import Pin
from pipeguard.core.pins.lookalikes import Names
from pipeguard.core.pins.store import PinKey, Pins
from pipeguard.core.protocol.places import Surface
from pipeguard.core.rules.policy import Policy
from pipeguard.core.scanning.engine import Engine

__all__ = ("Engines", "Guard", "PinKey")


class Engines(NamedTuple):
    """The compiled rules. Each rule is in one engine, whatever it is run over.

    Attributes:
        to_server: rules that are run over what goes to the server, and maybe over more.
        to_client: those of the rest that are run over what goes to the client.
        definitions: those that are run over definitions only.
    """

    to_server: Engine
    to_client: Engine
    definitions: Engine

    def over(self, surface: Surface) -> list[Engine]:
        """The engines that hold rules for a surface."""
        return [
            engine
            for engine in (self.to_server, self.to_client, self.definitions)
            if surface in engine.surfaces
        ]


class _Shared:
    """What is one for all guards of a server: what is replaced here is replaced for each."""

    __slots__ = ("pins", "policy")

    def __init__(self, policy: Policy, pins: Pins) -> None:
        self.policy = policy
        self.pins = pins


class Guard:
    """The rules, the policy and the pins of one server.

    A guard is for the threads of its scanners: one for each direction. `aside` gives one for any
    other thread and `part` one for another client; policy and pins are the same in all of them,
    and what one learns or adopts, all know from then on.

    Attributes:
        name: the server's, under which its pins are kept.
        engines: the compiled rules.
        vault: what was taken out of its words, to be put back into what goes to it; or None.
        scanners: the engines that hold rules for each surface.
        flows: what went through it lately.
        known: secrets of ours, which nothing that it says goes on with.
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
            name: the server's, under which its pins are kept.
            engines: the compiled rules.
            policy: what to do about findings.
            pins: by kind and name.
            key: random bytes of this run, by which its placeholders are known again; without
                them, what is taken out of the server's words is never put back.
        """
        self.name = name
        self.vault = Vault(key) if key else None
        self.engines = engines
        self.scanners = _scanners(engines)
        self._spare: dict[Surface, tuple[Engine, ...]] = {}
        self._aside = Lock()
        self.flows = Flows()
        self.known = KnownSecrets()
        self._shared = _Shared(policy, Pins(pins))

    @property
    def policy(self) -> Policy:
        """What to do about findings."""
        return self._shared.policy

    @property
    def pins(self) -> Mapping[PinKey, Pin]:
        """All pins as they are now, by kind and name; what is given does not change any more."""
        return self._shared.pins.all()

    @contextmanager
    def aside(self) -> Iterator[Guard]:
        """The same guard for another thread; one at a time, the next one waits."""
        with self._aside:
            if not self._spare:
                self._spare |= _scanners(Engines(*(engine.clone() for engine in self.engines)))
            twin = copy(self)
            twin.scanners = self._spare
            yield twin

    def part(self, key: bytes) -> Guard:
        """The same guard for one of several clients: what went through it is that client's own.

        Args:
            key: random bytes for its placeholders, as those of the guard itself.
        """
        parted = copy(self)
        parted.vault = Vault(key) if self.vault is not None else None
        parted.flows = Flows()
        return parted

    def adopt(self, policy: Policy) -> None:
        """Judge by another policy from now on."""
        self._shared.policy = policy

    def load(self, surface: Surface) -> None:
        """Load what the texts of a surface are looked through with, before the first comes.

        Raises:
            EngineError: compiled rules are not whole; the first text would then be refused.
        """
        for engine in self.scanners[surface]:
            engine.load()

    def repin(self, pins: Mapping[PinKey, Pin]) -> frozenset[str]:
        """Take over what the store holds now.

        What is held here stays held until it is accepted: the store may have thrown it away,
        or not have it yet, and the server still offers it.

        Returns:
            The kinds in which something changed that a client should list again.
        """
        return self._shared.pins.replace(pins)

    def pin(self, kind: str, name: str) -> Pin | None:
        """What is known of one definition."""
        return self._shared.pins.of(kind, name)

    def knows_all(self, kind: str) -> bool:
        """False once a definition of a kind was not kept, since there was no room for it."""
        return not self._shared.pins.are_full(kind)

    @property
    def names(self) -> Names:
        """The names of the pins, by how they read."""
        return self._shared.pins.names

    def tool(self, name: str) -> Tool:
        """What a tool does, by the definition that is trusted."""
        return self._shared.pins.tool(name)

    def learn(self, pin: Pin) -> Pin | None:
        """Remember a definition for this run; the store learns it from the Verdict.

        Returns:
            What is kept; None where there is no room for it.
        """
        return self._shared.pins.learn(pin)


def _scanners(engines: Engines) -> dict[Surface, tuple[Engine, ...]]:
    """The engines by what they are run over.

    An engine is for one thread, and a rule stands in one engine whatever it is run over: what is
    run over both directions is there twice, over one database.
    """
    back = Engines(engines.to_server.clone(), engines.to_client, engines.definitions)
    return {
        Surface.TO_SERVER: tuple(engines.over(Surface.TO_SERVER)),
        Surface.TO_CLIENT: tuple(back.over(Surface.TO_CLIENT)),
        Surface.DEFINITIONS: tuple(back.over(Surface.DEFINITIONS)),
    }
