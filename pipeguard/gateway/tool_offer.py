"""The offer of one server, as its Session lets it pass, and as its pins remember it.

Prompts, resources and skills are listed when a server starts, so that a person can decide on all at
once: the Session pins each listed definition, or holds it for approval. Clients list them
themselves.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial

from pipeguard.detect.detector import get_detection
from pipeguard.firewall.finding import Finding
from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    Number,
    as_object,
    read_object,
    serialise,
)
from pipeguard.firewall.protocol.peers import SKILLS, announces_list
from pipeguard.firewall.protocol.places import LISTS
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session.guard import Guard
from pipeguard.gateway.catalog import Catalog, Listing
from pipeguard.gateway.client_request import Unavailable
from pipeguard.gateway.leg import Leg, ListedTools
from pipeguard.gateway.life import definitions_wait
from pipeguard.gateway.servers_file import ServerSettings
from pipeguard.gateway.stuffing import stuffing
from pipeguard.gateway.tools import to_text
from pipeguard.log import Log
from pipeguard.runtime.run import Run
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.tasks import Tasks

MOST_NOTICES = 100  # of stuffed descriptions: the server chooses how many tools it has
MOST_PAGES = 20  # of each list
MOST_BYTES = 8 * 2**20  # of its pages; a definition that a person reads has some 500
MOST_SECONDS = 30.0
START_SECONDS = 1.0  # for which a server's start waits


class ToolOffer:
    """The offer of one server.

    Args:
        settings: the user's settings for it.
        catalog: of all servers.
        run: has its pins, and takes findings on descriptions that are written for the search.
        log: of the server.
        servers: returns the names of all servers, including those without listed tools.

    Attributes:
        waiting: the number of its definitions that wait for approval.
        refused: names of tools blocked by the policy, or by its entry in the servers file.
    """

    def __init__(
        self,
        settings: ServerSettings,
        catalog: Catalog,
        run: Run,
        log: Log,
        servers: Callable[[], Iterable[str]],
    ) -> None:
        self._counted = 0
        self.refused: tuple[str, ...] = ()
        self._settings = settings
        self._catalog = catalog
        self._guard = run.guard
        self._log = log
        self._record, self._recorded = run.notice, set[Finding]()
        self._servers = servers
        self._is_whole = True

    def take(self, listed: ListedTools) -> None:
        """Let agents find the tools that the server listed.

        Raises:
            Unavailable: it listed none in time; the earlier tools stay.
        """
        if self._is_whole and not listed.is_whole:
            self._log("warning", "some of its tools are missing: it does not list them all")
        self._is_whole = listed.is_whole
        if listed.is_late and not listed.definitions:
            raise Unavailable("it did not list its tools in time")
        self.put(listed.definitions)

    def put(self, definitions: Sequence[JsonValue]) -> None:
        """Let agents find exactly these tools of this server."""
        settings = self._settings
        tools = [each for each in definitions if isinstance(each, dict)]
        # The list of a session has none of them, but each has a pin.
        pins = [pin for pin in self._guard.pins.all().values() if pin.kind == "tool"]
        known = {pin.name for pin in pins} | {to_text(each.get("name")) for each in tools}
        self.refused = tuple(sorted(filter(self._guard.policy.hides, known)))
        held = frozenset(pin.name for pin in pins if pin.held_definition is not None)
        listing = Listing(
            settings.name,
            [each for each in tools if to_text(each.get("name")) not in self.refused],
            settings.shown_tools(partial(has_tool, self._guard)),
            settings.tags,
            settings.is_prefixed,
            held,
        )
        if self._catalog.put(
            listing, partial(get_detection(self._guard).knowledge.tools.label, self._guard)
        ):
            self._record_stuffing()

    def _record_stuffing(self) -> None:
        """Record each description once that is written for the search."""
        name = self._settings.name
        others = [server for server in self._servers() if server != name]
        for tool in self._catalog.of(name):
            for finding in stuffing(tool.definition, name, others):
                if finding not in self._recorded and len(self._recorded) < MOST_NOTICES:
                    self._recorded.add(finding)
                    self._record(finding)

    @property
    def waiting(self) -> int:
        """The number of definitions that wait for approval, without rejected ones."""
        return len(self.find_waiting())

    def find_waiting(self) -> list[Finding]:
        """A finding for each definition that waits for approval."""
        return [
            Finding(
                "trust.held" if pin.approved_definition is None else "trust.drifted",
                f"{pin.kind}.name",
                tool=pin.name,
            )
            for pin in self._guard.pins.all().values()
            if pin.held_definition is not None
            and not self._guard.pins.is_rejected(pin.kind, pin.name)
        ]

    def put_skills(self) -> None:
        """Let agents find exactly the approved skills."""
        skills = {
            pin.name: read_object(as_object(parse_json(text.encode())), "frontmatter")
            for pin in self._guard.pins.all().values()
            if pin.kind == "skill" and pin.held_definition is None
            if (text := pin.approved_definition) is not None
        }
        self._catalog.put_skills(self._settings.name, skills)

    def count_waiting(self) -> None:
        """Log the number of definitions that wait for approval, whenever it changes."""
        self.put_skills()
        waiting = self.waiting
        if waiting and waiting != self._counted:
            self._log(
                "warning",
                f"{definitions_wait(waiting)} for approval",
                do=f"pipeguard diff {self._guard.name}; pipeguard approve {self._guard.name} --all",
            )
        self._counted = waiting


def has_tool(guard: Guard, name: str) -> bool:
    """True if a server has a tool of this name, even one that waits for approval."""
    return guard.pin("tool", name) is not None


async def list_at_start(leg: Leg, tasks: Tasks, when_listed: Callable[[], None]) -> None:
    """List its prompts, resources and skills; let a slow server continue while it is used.

    Args:
        leg: the gateway's own conversation with it.
        tasks: of the server.
        when_listed: called at the end.
    """
    listing = tasks.begin(_list_all(leg, when_listed))
    await asyncio.wait({listing}, timeout=START_SECONDS)


async def _list_all(leg: Leg, when_listed: Callable[[], None]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(MOST_SECONDS):
            capabilities = read_object(leg.described, "capabilities")
            methods = [method for method in LISTS if method != "tools/list"]
            for method in filter(partial(announces_list, capabilities), methods):
                await _see_all(leg, method)
    when_listed()


async def _see_all(leg: Leg, method: str) -> None:
    async for _ in leg.read_list(method, MOST_PAGES, MOST_BYTES):
        pass  # its Session has seen it


PAGE_BYTES = 2**20
SKILLS_OFFERED: JsonObject = {SKILLS: {"directoryRead": True}}
_CAPABILITIES = {
    "tool": ("tools",),
    "prompt": ("prompts",),
    "resource": ("resources",),
    "template": ("resources",),
    "skill": ("resources", "extensions"),
}


def remembered_capabilities(pins: Iterable[Pin]) -> set[str]:
    """The capabilities that the pins of a server show."""
    return {name for pin in pins for name in _CAPABILITIES.get(pin.kind, ())}


class RememberedServer:
    """A channel whose far side answers from a server's pins.

    Args:
        name: the server's.
        pins: of its definitions.
    """

    def __init__(self, name: str, pins: Iterable[Pin]) -> None:
        self._name = name
        self._definitions: dict[str, list[JsonValue]] = {}
        for pin in pins:
            text = pin.held_definition or pin.approved_definition  # the newest that it listed
            if text is not None and pin.kind in _CAPABILITIES:
                self._definitions.setdefault(pin.kind, []).append(parse_json(text.encode()))
        self._answers: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._closed = False

    async def read(self) -> bytes | None:
        """Wait for the next answer; None once the channel was closed."""
        return await self._answers.get()

    async def write(self, frame: bytes) -> None:
        """Take a message, and answer it if it is a request.

        Raises:
            ChannelClosed: this side was closed.
        """
        if self._closed:
            raise ChannelClosed("closed")
        message = parse_json(frame)
        if isinstance(message, dict) and "id" in message and "method" in message:
            body = read_object(message, "params")
            answer = self._answer(str(message["method"]), body)
            self._answers.put_nowait(serialise({"jsonrpc": "2.0", "id": message["id"], **answer}))

    async def close(self) -> None:
        """Hang up; a waiting `read` returns None."""
        if not self._closed:
            self._closed = True
            self._answers.put_nowait(None)

    def _answer(self, method: str, params: JsonObject) -> JsonObject:
        if method == "initialize":
            return {"result": self._describe(params)}
        if method in LISTS:
            return {"result": self._page(method, params.get("cursor"))}
        if method == "ping":
            return {"result": {}}
        code = Number(str(codes.METHOD_NOT_FOUND))
        return {"error": {"code": code, "message": "the server is not running"}}

    def _describe(self, params: JsonObject) -> JsonObject:
        capabilities: JsonObject = {
            name: SKILLS_OFFERED if name == "extensions" else {}
            for kind in self._definitions
            for name in _CAPABILITIES[kind]
        }
        return {
            "protocolVersion": params.get("protocolVersion"),
            "capabilities": capabilities,
            "serverInfo": {"name": self._name, "version": "0"},
        }

    def _page(self, method: str, cursor: JsonValue) -> JsonObject:
        member, kind, _ = LISTS[method]
        definitions = self._definitions.get(kind, [])
        start = int(cursor) if type(cursor) is str and cursor.isdecimal() else 0
        items = list(_fill_page(definitions[start:]))
        result: JsonObject = {member: items}
        if start + len(items) < len(definitions):
            result["nextCursor"] = str(start + len(items))
        return result


def _fill_page(definitions: Iterable[JsonValue]) -> Iterator[JsonValue]:
    """Take as many items as fit into a page, and at least one."""
    size = 0
    for definition in definitions:
        yield definition
        size += len(serialise(definition))
        if size >= PAGE_BYTES:
            return
