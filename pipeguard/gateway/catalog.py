"""The tools of all servers under unique names, as each server's Session let them pass.

Holds definitions and the known effects of tools; asks no server, and knows no client. Definitions
that never passed a Session, or were withdrawn, are not in it. Also finds the tool for a name other
than its public name: a server chooses the names of its tools, so a tool's own name is never used to
resolve a name with a server in it (`evil` may call a tool `files__read`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from itertools import chain, count
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.detect.flows.tool_labels import NOUNS, SINKS, Label, Tool, ToolAct
from pipeguard.firewall.pins.store import as_seen
from pipeguard.firewall.policy import fits_any
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, read_object
from pipeguard.gateway.tools import HASH_CHARS, CatalogTool, Effect, Filter, ShownTools

if TYPE_CHECKING:
    from pipeguard.gateway.search import SearchHit, ToolIndex

SEPARATOR = "__"
MARKS = ("/", SEPARATOR)  # between a server and a tool
# Names of tools that the strictest of the models' providers accept.
MOST_NAME_CHARS = 64
_UNNAMEABLE = re.compile(r"[^A-Za-z0-9_-]+")


class Listing(NamedTuple):
    """The offer of one server, and the part that agents may see.

    Attributes:
        server: its name.
        definitions: of its tools, as they passed its Session.
        shown: which of them agents see, and how.
        tags: of the server.
        is_prefixed: False if its names stay unchanged as far as they are unique.
        held: names of tools whose changes wait for approval.
    """

    server: str
    definitions: Sequence[JsonValue]
    shown: ShownTools = ShownTools()
    tags: tuple[str, ...] = ()
    is_prefixed: bool = True
    held: frozenset[str] = frozenset()


class Catalog:
    """The tools of all servers. For one thread.

    Args:
        servers: returns the names of all servers, including those without listed tools.

    Attributes:
        version: another number whenever a tool has changed.
    """

    def __init__(self, servers: Callable[[], Iterable[str]] = tuple) -> None:
        self._servers = servers
        self._tools: dict[str, tuple[CatalogTool, ...]] = {}  # by server
        self.version = 0
        self._public: dict[str, CatalogTool] = {}
        self._by_key: dict[int, CatalogTool] = {}
        self._unprefixed: set[str] = set()  # servers whose tools keep their names
        self._keys: dict[str, dict[str, int]] = {}  # of tools, by server and its own names
        self._numbers = count()
        self._skills: dict[str, list[CatalogTool]] = {}  # by server
        self._is_published = self._is_indexed = True

    @cached_property
    def _index(self) -> ToolIndex:
        from pipeguard.gateway.search import ToolIndex  # 8 MB, not needed for names

        return ToolIndex()

    @classmethod
    def of_tools(cls, tools: Iterable[CatalogTool]) -> Catalog:
        """A catalogue of tools with public names, as a running gateway lists them."""
        catalog = cls()
        catalog._public = {tool.public: tool for tool in tools}
        catalog._by_key = {tool.key: tool for tool in catalog._public.values()}
        catalog._is_indexed = False
        return catalog

    def __len__(self) -> int:
        return len(self._find_published())

    def __iter__(self) -> Iterator[CatalogTool]:
        return iter(self._find_published().values())

    def put(self, listing: Listing, known_as: Callable[[str], Tool]) -> bool:
        """Replace a server's offer; True if it differs from the earlier one.

        Args:
            listing: the offer.
            known_as: the known facts about a tool, by its name: `Guard.tool`.
        """
        if listing.is_prefixed:
            self._unprefixed.discard(listing.server)
        else:
            self._unprefixed.add(listing.server)
        tools = tuple(self._choose(listing, known_as))
        self._keys[listing.server] = {tool.name: tool.key for tool in tools}
        if self._tools.get(listing.server, ()) == tools:
            return False
        self._tools[listing.server] = tools
        self._notify()
        return True

    def drop(self, server: str) -> bool:
        """Remove a server for good; True if it had tools."""
        self._keys.pop(server, None)
        self.put_skills(server, {})
        self._unprefixed.discard(server)
        if not self._tools.pop(server, ()):
            return False
        self._notify()
        return True

    def put_skills(self, server: str, skills: Mapping[str, JsonObject]) -> None:
        """Replace a server's skills, which are found next to its tools.

        Args:
            server: its name.
            skills: their front matter, by address.
        """
        self._skills[server] = [
            CatalogTool(
                next(self._numbers),
                uri,
                server,
                str(words.get("name")),
                words,
                Effect.READ,
                kind="skill",
            )
            for uri, words in skills.items()
        ]
        self._is_indexed = False

    def of(self, server: str) -> tuple[CatalogTool, ...]:
        """The tools of one server."""
        return self._tools.get(server, ())

    def find(self, public: str) -> CatalogTool | None:
        """The tool of a public name; None if there is none."""
        return self._find_published().get(public)

    def search(
        self, query: str, limit: int, only: Filter | None = None
    ) -> list[tuple[CatalogTool, SearchHit]]:
        """The tools that a query is about, the best first (`ToolIndex.search`)."""
        if not self._is_indexed:
            tools = (tool for tool in self if tool.is_for_models and not tool.is_held)
            self._index.replace(chain(tools, *self._skills.values()))
            self._is_indexed = True
        found = self._index.search(query, limit, only)
        return [(self._by_key.get(hit.tool.key, hit.tool), hit) for hit in found]

    def _choose(self, listing: Listing, known_as: Callable[[str], Tool]) -> Iterator[CatalogTool]:
        seen: set[str] = set()
        all_shown = listing.shown.definitions(listing.definitions)
        for definition, shown in zip(listing.definitions, all_shown, strict=True):
            if not isinstance(definition, dict) or not isinstance(shown, dict):
                continue
            name = definition.get("name")
            if type(name) is not str or name in seen:
                continue
            seen.add(name)
            public = str(shown["name"])
            if listing.is_prefixed:
                public = short_name(listing.server, public)
            key = self._key(listing.server, name)
            effect = read_effect(known_as(name), definition)
            is_held = name in listing.held
            own: JsonObject = {**shown, "name": name}
            yield CatalogTool(key, public, listing.server, name, own, effect, listing.tags, is_held)

    def _key(self, server: str, name: str) -> int:
        """The number of a tool: its present one, or a new one."""
        key = self._keys.get(server, {}).get(name)
        return next(self._numbers) if key is None else key

    def public_name(self, server: str, name: str) -> str:
        """The name under which agents know a prompt of a server.

        Of several servers without a prefix, none can take a prompt's name from another.
        """
        is_own = self._unprefixed == {server} and not self._looks_like_anothers(server, name)
        return name if is_own else public_name(server, name)

    def _notify(self) -> None:
        self.version += 1
        self._is_published = self._is_indexed = False

    def _find_published(self) -> dict[str, CatalogTool]:
        """The tools by their public names, computed when first needed after a change."""
        if not self._is_published:
            self._publish()
        return self._public

    def _publish(self) -> None:
        """Give each tool its public name: prefixed ones first, which cannot be taken.

        Unprefixed names that are the same, or look alike, are given to no tool: a new server cannot
        take a name in use. A name with replaced characters gives way to a tool that really has
        that name.

        The order of tools does not depend on which server started first: agents' prompt caches
        would be lost. A name does not depend on the order in which a server lists: its own names
        come before the user's.
        """
        tools = [tool for listed in self._tools.values() for tool in listed]
        tools.sort(
            key=lambda tool: (
                tool.server in self._unprefixed,
                tool.server,
                tool.public not in (tool.name, public_name(tool.server, tool.name)),
            )
        )
        self._public = {}
        wanted = Counter(as_seen("tool", tool.public) for tool in tools)
        for tool in tools:
            is_unprefixed, public = tool.server in self._unprefixed, tool.public
            may_collide = is_unprefixed or _is_cleaned(tool)
            is_wanted_twice = may_collide and wanted[as_seen("tool", public)] > 1
            is_taken = is_unprefixed and self._looks_like_anothers(tool.server, public)
            if public in self._public or is_wanted_twice or is_taken:
                public = public_name(tool.server, tool.name)
            if public in self._public:
                public = hashed_name(tool.server, tool.name)
            self._public[public] = tool if public == tool.public else tool._replace(public=public)
        self._by_key = {tool.key: tool for tool in self._public.values()}
        self._is_published = True

    def _looks_like_anothers(self, server: str, name: str) -> bool:
        """True for an unprefixed name that begins like the names of another server, or seems to."""
        seen = as_seen("tool", name)
        others = {*self._tools, *self._servers()} - {server}
        return any(mark in seen for mark in MARKS) and any(
            may_be_tool(seen, as_seen("tool", other)) for other in others
        )


def public_name(server: str, name: str) -> str:
    """The name under which a tool is called through the gateway: `server__tool`.

    Always the same for the same pair, whatever else exists. If the plain form could be another
    pair's, or clients would reject it, it ends in a part of their hash.
    """
    plain = f"{server}{SEPARATOR}{name}"
    clean = _UNNAMEABLE.sub("_", plain)
    edges = SEPARATOR in server or server.endswith("_") or name.startswith("_")
    if clean == plain and len(plain) <= MOST_NAME_CHARS and not edges:
        return plain
    return hashed_name(server, name)


def short_name(server: str, name: str) -> str:
    """The name of a tool without a hash, if replacing characters such as dots makes it valid."""
    clean = _UNNAMEABLE.sub("_", name)
    short = public_name(server, clean)
    return short if short == f"{server}{SEPARATOR}{clean}" else public_name(server, name)


def _is_cleaned(tool: CatalogTool) -> bool:
    """True for a public name in which characters of the tool's own name were replaced."""
    return _UNNAMEABLE.search(tool.name) is not None and tool.public == short_name(
        tool.server, tool.name
    )


def hashed_name(server: str, name: str) -> str:
    """A public name that ends in a part of a hash, used if the plain form is taken."""
    clean = _UNNAMEABLE.sub("_", f"{server}{SEPARATOR}{name}")
    return f"{clean[: MOST_NAME_CHARS - HASH_CHARS - 1]}_{short_hash(server, name)}"


def short_hash(server: str, name: str) -> str:
    """A part of the hash of a server and its own name."""
    digest = sha256(f"{server}\0{name}".encode("utf-8", "surrogatepass")).hexdigest()
    return digest[:HASH_CHARS]


def read_effect(tool: Tool, definition: JsonObject) -> Effect:
    """The effect of calling a tool.

    Its words decide; annotations can only raise the effect (MCP 2025-06-18, server/tools: clients
    MUST consider them untrusted), unless the words are unknown. Unknown verbs may write.
    """
    hints, labels = read_object(definition, "annotations"), tool.labels
    is_undoing = labels & (Label.UNDOES | Label.RUNS) or tool.acts & (ToolAct.DELETE | ToolAct.PAY)
    if is_undoing or hints.get("destructiveHint") is True:
        return Effect.DESTRUCTIVE
    # A noun or an address does not make it a sink: `get_post`, `list_schedules`, `get_page`.
    sinks = labels & SINKS & ~NOUNS if tool.looks else labels & SINKS
    if sinks or hints.get("readOnlyHint") is False:
        return Effect.WRITE
    is_read = hints.get("readOnlyHint") is True if tool.looks is None else tool.looks
    return Effect.READ if is_read else Effect.WRITE


def tool_globs(tools: Iterable[CatalogTool], globs: Sequence[str]) -> set[int]:
    """The keys of the tools whose public names, or `server/tool`, match one of the globs."""
    return {
        tool.key
        for tool in tools
        if fits_any(tool.public, globs) or fits_any(f"{tool.server}/{tool.name}", globs)
    }


def tools_of_server(
    catalog: Catalog, name: str, is_allowed: Callable[[CatalogTool], bool] = lambda _: True
) -> list[CatalogTool]:
    """The tools that a name with a server in it may mean; exactly one for a public name.

    Args:
        catalog: the catalogue to search.
        name: public, `server/tool` or `server__tool`.
        is_allowed: True if a tool may be found.
    """
    tool = catalog.find(name)
    if tool is not None:
        return [tool] if is_allowed(tool) else []
    return [
        tool
        for tool in catalog
        if name in (f"{tool.server}{mark}{tool.name}" for mark in MARKS) and is_allowed(tool)
    ]


def tools_named(catalog: Catalog, name: str) -> list[CatalogTool]:
    """The tools that a person may mean by a name, with or without the server."""
    found = tools_of_server(catalog, name)
    if found or any(mark in name for mark in MARKS):
        return found
    return [tool for tool in catalog if tool.name == name]


def may_be_tool(name: str, server: str) -> bool:
    """True if a name begins like the names of a server's tools."""
    return name.startswith(tuple(f"{server}{mark}" for mark in MARKS))
