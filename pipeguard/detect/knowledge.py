"""The memory of one server for one client: its tools, results and secrets."""

from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING

from pipeguard.detect.clean_texts import CleanTexts
from pipeguard.detect.flows.known_secrets import KnownSecrets
from pipeguard.detect.flows.ledger import Flows
from pipeguard.detect.flows.tool_labels import Tool, make_tool
from pipeguard.detect.flows.vault import Vault
from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.firewall.protocol import places, strict_json
from pipeguard.firewall.session.guard import Guard
from pipeguard.records import NamedTuple

if TYPE_CHECKING:
    from pipeguard.detect.scanning.engine import Engine

MAX_TOOLS = 2048  # whose labels are remembered
MAX_TOOL_CHARS = 256  # of the name of such a tool

Scanners = Mapping[places.Surface, "tuple[Engine, ...]"]


class ToolLabels:
    """Labels of a server's tools, by their trusted definitions. Safe for any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._tools: dict[str, tuple[Pin | None, Tool]] = {}  # by name, as described by their pins

    def label(self, guard: Guard, name: str) -> Tool:
        """Label a tool."""
        pin = guard.pin("tool", name)
        labelled = self._tools.get(name)
        if labelled is not None and labelled[0] is pin:
            return labelled[1]
        text = pin.approved_definition or pin.held_definition if pin is not None else None
        definition = strict_json.parse_json(text.encode()) if text else None
        tool = make_tool(name, definition if isinstance(definition, dict) else None)
        tool = tool._replace(server=guard.name)
        if len(name) <= MAX_TOOL_CHARS:
            with self._lock:
                while len(self._tools) >= MAX_TOOLS:
                    del self._tools[next(iter(self._tools))]
                self._tools[name] = pin, tool
        return tool

    def stay_here(self, guard: Guard) -> bool:
        """True if the server runs here and its tools do not reach beyond this machine."""
        if guard.is_remote:
            return False
        names = [name for kind, name in guard.pins.all() if kind == "tool"]
        if not 0 < len(names) <= MAX_TOOLS:
            return False
        return not any(self.label(guard, name).reaches_out for name in names)


class Knowledge(NamedTuple):
    """All that the judgement of one server's messages depends on, but for the message.

    Attributes:
        scanners: the engines that have rules for each surface; each thread has its own.
        vault: the secrets that were taken out of the server's messages, to be put back into
            messages to it.
        flows: its recent calls and results.
        known_secrets: PipeGuard's own secrets, which are masked in its messages.
        tools: labels of its tools.
        clean_texts: texts in which no rule matched.
    """

    scanners: Scanners
    vault: Vault
    flows: Flows
    known_secrets: KnownSecrets
    tools: ToolLabels
    clean_texts: CleanTexts
