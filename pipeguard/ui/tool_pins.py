"""Tools in the store: their states, their counts, and how agents find them."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cached_property
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.detect.flows.tool_labels import make_tool
from pipeguard.errors import Refusal
from pipeguard.firewall.protocol.json_values import JsonObject, as_object, serialise
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.gateway import menu
from pipeguard.gateway.catalog import Catalog, Listing
from pipeguard.state.review import tool_states

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeguard.firewall.pins.fingerprint import Pin
    from pipeguard.state.pins import Store

CHARS_PER_TOKEN = 4  # an estimate: o200k_base has about so many for English and JSON
MOST_DESTROYING = 3  # names of tools that are listed
MOST_HITS = 20
_PLAIN = re.compile(r"\w[\w.-]{0,79}", re.ASCII)


class ToolCounts(NamedTuple):
    """The tools of one server, counted.

    Attributes:
        approved: tools that a person approved.
        unreviewed: tools trusted on first use, which no person reviewed.
        held: tools that wait for a person.
        only_read: tools that claim to be read-only.
        may_destroy: names of some tools that say they may be destructive.
    """

    total: int = 0
    approved: int = 0
    unreviewed: int = 0
    held: int = 0
    only_read: int = 0
    may_destroy: tuple[str, ...] = ()


NO_TOOLS = ToolCounts()


class StoredTool(NamedTuple):
    """A tool in the store.

    Attributes:
        server: the server's name.
        pin: its trusted form and its held form.
    """

    server: str
    pin: Pin

    @property
    def path(self) -> str:
        """The address of its page."""
        return f"/tools/{address(self.server)}/{address(self.pin.name)}"

    @property
    def mark(self) -> str:
        """The sign of its state."""
        if self.pin.waits:
            return "asks"
        if self.pin.approved_definition is None:
            return "block"
        return "up" if self.pin.is_reviewed else "asleep"

    @property
    def state(self) -> str:
        """Its state in words."""
        pin = self.pin
        if pin.waits:
            is_new = pin.approved_fingerprint in {None, pin.held_fingerprint}
            return "Held: nobody approved it" if is_new else "Held: it changed"
        if pin.approved_definition is None:
            return "Rejected"
        return "Approved" if pin.is_reviewed else "Never reviewed"

    @property
    def definition(self) -> str:
        """The definition that agents read; if it was never trusted, the held one."""
        return self.pin.approved_definition or self.pin.held_definition or ""

    @property
    def tokens(self) -> int:
        """The estimated cost of its definition in a list of tools."""
        return estimate_tokens(self.definition)


def address(text: str) -> str:
    """Encode a name as a part of an address: as it is, or by its digest if it is not plain."""
    if _PLAIN.fullmatch(text):
        return text
    return f"~{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text for a model."""
    return -(-len(text) // CHARS_PER_TOKEN)


def stored_tools(store: Store, server: str = "") -> list[StoredTool]:
    """Return the tools of one server, or of all, by their names.

    Raises:
        StateError: the store cannot be read.
    """
    names = [server] if server else store.servers()
    return [
        StoredTool(name, pin)
        for name in names
        for pin in store.pins(name).values()
        if pin.kind == "tool"
    ]


def find_tool(store: Store, server: str, name: str) -> StoredTool | None:
    """Find the tool of an address.

    Raises:
        StateError: the store cannot be read.
    """
    called = (each for each in store.servers() if address(each) == server)
    tools = (tool for each in called for tool in stored_tools(store, each))
    return next((tool for tool in tools if address(tool.pin.name) == name), None)


def count_tools(store: Store) -> dict[str, ToolCounts]:
    """Count the tools of each server.

    Raises:
        StateError: the store cannot be read.
    """
    counts = {}
    for server, tools in tool_states(store).items():
        hints = [(each.name, read_annotations(each.definition)) for each in tools]
        destroying = [name for name, each in hints if each.get("destructiveHint") is True]
        trusted = [each for each in tools if not each.is_held]
        reviewed = sum(bool(each.is_reviewed) for each in trusted)
        counts[server] = ToolCounts(
            len(tools),
            reviewed,
            len(trusted) - reviewed,
            len(tools) - len(trusted),
            sum(each.get("readOnlyHint") is True for _, each in hints),
            tuple(destroying[:MOST_DESTROYING]),
        )
    return counts


def read_annotations(definition: str) -> JsonObject:
    """Read a tool's annotations (MCP server/tools, ToolAnnotations)."""
    if '"annotations"' not in definition:
        return {}
    return as_object(read_definition(definition).get("annotations"))


def read_definition(text: str) -> JsonObject:
    """Parse a stored definition; empty if it is not a JSON object."""
    try:
        return as_object(parse_json(text.encode("utf-8")))
    except Refusal:
        return {}


# --- search -----------------------------------------------------------------------------------


class ToolFinder:
    """The catalogue that `pipeguard serve` searches, over the store's approved tools."""

    def __init__(self) -> None:
        self._lock = Lock()  # a catalogue is for one thread
        self._pins: dict[str, list[Pin]] = {}  # by server, as the catalogue has them
        self._all_tokens = (-1, 0)  # the catalogue's version, and the cost of all its tools

    @cached_property
    def _catalog(self) -> Catalog:
        return Catalog()  # with its index, which only a search needs

    def search(self, tools: Iterable[StoredTool], query: str, limit: int) -> dict[str, object]:
        """Find tools as an agent does, with the estimated cost of the result, in tokens."""
        with self._lock:
            self._follow(tools)
            found = self._catalog.search(query, limit)
            hits = [
                {
                    "tool": tool,
                    "path": f"/tools/{address(tool.server)}/{address(tool.name)}",
                    "text": menu.results([(tool, hit)]),
                    "matches": list(dict.fromkeys((each.word, each.field) for each in hit.why)),
                }
                for tool, hit in found
            ]
            offered = menu.definitions(frozenset(tool.effect for tool in self._catalog))
            return {
                "hits": hits,
                "answer_tokens": estimate_tokens(menu.results(found)),
                "menu_tokens": estimate_tokens(serialise(offered).decode()),
                "all_tokens": self._count_all(),
                "searched": len(self._catalog),
            }

    def _count_all(self) -> int:
        version, tokens = self._all_tokens
        if version != self._catalog.version:
            texts = (serialise({**each.definition, "name": each.public}) for each in self._catalog)
            tokens = sum(estimate_tokens(text.decode()) for text in texts)
            self._all_tokens = self._catalog.version, tokens
        return tokens

    def _follow(self, tools: Iterable[StoredTool]) -> None:
        """Bring the catalogue to the store's state."""
        by_server: defaultdict[str, list[StoredTool]] = defaultdict(list)
        for tool in tools:
            if tool.pin.approved_definition is not None:
                by_server[tool.server].append(tool)
        for gone in self._pins.keys() - by_server.keys():
            self._catalog.drop(gone)
            del self._pins[gone]
        for server, own in by_server.items():
            pins = [each.pin for each in own]
            if self._pins.get(server) == pins:
                continue
            self._pins[server] = pins
            definitions = {each.pin.name: read_definition(each.definition) for each in own}
            held = frozenset(each.pin.name for each in own if each.pin.waits)
            listing = Listing(server, list(definitions.values()), held=held)
            known = definitions.get
            self._catalog.put(listing, lambda name: make_tool(name, known(name)))  # noqa: B023  at once


# --- parameters -------------------------------------------------------------------------------


class Parameter(NamedTuple):
    """A parameter of a tool, as far as its schema says.

    Attributes:
        name: the server's name for it.
        kind: `string`, `number`, `integer`, `boolean`, `enum`, or `json` for anything else.
        words: the accepted values, for people.
        description: the server's description.
        is_required: whether a call needs it.
        choices: the values of an enumeration, as JSON texts.
    """

    name: str
    kind: str
    words: str
    description: str
    is_required: bool
    choices: tuple[str, ...] = ()


def list_parameters(definition: JsonObject) -> Iterator[Parameter]:
    """Yield the parameters of a tool's input schema, in its order."""
    schema = as_object(definition.get("inputSchema"))
    required = schema.get("required")
    needed = required if isinstance(required, list) else []
    for name, value in as_object(schema.get("properties")).items():
        fields = as_object(value)
        values, kind = fields.get("enum"), fields.get("type")
        words = menu.show_type(value)
        description = fields.get("description")
        says = description if isinstance(description, str) else ""
        is_simple = kind in ("string", "number", "integer", "boolean")
        shown, choices = str(kind) if is_simple else "json", tuple[str, ...]()
        if isinstance(values, list) and values:
            shown, choices = "enum", tuple(serialise(each).decode() for each in values)
        yield Parameter(name, shown, words, says, name in needed, choices)
