"""The memory of one server for one client: its tools, results and secrets."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from pipeguard.detect.flows.known_secrets import KnownSecrets
from pipeguard.detect.flows.ledger import Flows
from pipeguard.detect.flows.tool_labels import Tool, make_tool
from pipeguard.detect.flows.vault import Vault
from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.firewall.protocol.pending import Targets
from pipeguard.firewall.protocol.places import Surface
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session.guard import Guard

if TYPE_CHECKING:
    from pipeguard.detect.scanning.engine import Engine

MAX_TOOLS = 2048  # whose labels are remembered
MAX_TOOL_CHARS = 256  # of the name of such a tool

Scanners = dict[Surface, "tuple[Engine, ...]"]


class LastingNames(Protocol):
    """Names of texts found clean in earlier runs, kept between runs."""

    def __contains__(self, name: bytes) -> bool:
        """True if no rule matched in the text."""

    def add(self, name: bytes) -> None:
        """Remember one."""


class Knowledge:
    """The memory of one server's texts.

    Attributes:
        vault: the secrets that were taken out of the server's messages, to be put back into
            messages to it; None without a key.
        flows: its recent calls and results.
        known_secrets: PipeGuard's own secrets, which are masked in its messages.
        clean_texts: texts in which no rule matched.
        clean_frames: short messages in which none did (detect.plain).
    """

    def __init__(
        self,
        make_scanners: Callable[[], Scanners],
        key: bytes,
        known_secrets: KnownSecrets,
        lasting: LastingNames | None,
    ) -> None:
        self._make_scanners = make_scanners
        self.vault = Vault(key) if key else None
        self.flows = Flows()
        self.known_secrets = known_secrets
        self.clean_texts, self.clean_frames = _CleanTexts(lasting), _CleanTexts(None)
        self._lock = Lock()
        self._tools: dict[str, tuple[Pin | None, Tool]] = {}  # by name, as described by their pins

    @cached_property
    def scanners(self) -> Scanners:
        """The engines that have rules for each surface."""
        with self._lock:  # two threads may need them at once
            return self.__dict__.get("scanners") or self._make_scanners()

    def tool(self, guard: Guard, name: str) -> Tool:
        """Label a tool by its trusted definition."""
        pin = guard.pin("tool", name)
        labelled = self._tools.get(name)
        if labelled is not None and labelled[0] is pin:
            return labelled[1]
        text = pin.approved_definition or pin.held_definition if pin is not None else None
        definition = parse_json(text.encode()) if text else None
        tool = make_tool(name, definition if isinstance(definition, dict) else None)
        tool = tool._replace(server=guard.name)
        if len(name) <= MAX_TOOL_CHARS:
            with self._lock:
                while len(self._tools) >= MAX_TOOLS:
                    del self._tools[next(iter(self._tools))]
                self._tools[name] = (pin, tool)
        return tool

    def stays_here(self, guard: Guard) -> bool:
        """True if the server runs here and its tools do not reach beyond this machine."""
        if guard.is_remote:
            return False
        names = [name for kind, name in guard.pins.all() if kind == "tool"]
        if not 0 < len(names) <= MAX_TOOLS:
            return False
        return not any(self.tool(guard, name).reaches_out for name in names)

    def sign(self, text: str) -> str:
        """Sign a line that PipeGuard writes; empty without a key."""
        return "" if self.vault is None else self.vault.tag("cut", text)


class _CleanTexts:
    """Texts in which no rule matched, by their names, for any thread.

    Agents ask for the same again and again, and get the same. Of two halves, each replaced as a
    whole, the older one is dropped once the newer is full.
    """

    MOST = 512  # of one half: names of texts take 0.2 MB, short frames up to 1.2

    def __init__(self, lasting: LastingNames | None) -> None:
        self._lasting = lasting
        self._new: dict[bytes, int | None] = {}
        self._old: dict[bytes, int | None] = {}

    def has(self, name: bytes, call: Targets, *, lasts: bool) -> bool:
        """True for such a text, as the result of a call; `lasts` if earlier runs count."""
        kind = self._new.get(name, self._old.get(name, _UNKNOWN))
        if kind is _UNKNOWN:
            return lasts and self._lasting is not None and name in self._lasting
        return kind is None or kind == call.facts.file_kind

    def add(self, name: bytes, call: Targets, *, lasts: bool) -> None:
        """Add a text, with the kind of its call's files if that was computed."""
        if lasts and self._lasting is not None:
            self._lasting.add(name)
        if len(self._new) >= self.MOST:
            self._old, self._new = self._new, {}
        self._new[name] = call.facts.file_kind if call.is_read else None


_UNKNOWN = -1  # no kind of files
