"""The tools of servers that agents may find, and under which names: as users and tokens say."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple, Self

from pipeguard.firewall.policy import passes
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    as_list,
    as_object,
    read_object,
)

HASH_CHARS = 6  # of a name that ends in a part of a hash
MOST_SCHEMA_WORDS = 400  # of a schema that are indexed; the largest real ones have 150
MOST_SCHEMA_DEPTH = 6


class Effect(StrEnum):
    """The effect of calling a tool, about which a client asks its user."""

    READ = "read"
    WRITE = "write"
    DESTRUCTIVE = "destructive"


class CatalogTool(NamedTuple):
    """One tool that agents may find, or one skill.

    Attributes:
        key: its number, constant for the lifetime of this catalogue.
        public: the name under which agents call it; of a skill, its address.
        server: the name of its server.
        name: the name that the server gives it.
        definition: as it passed the server's Session.
        effect: the possible effect of a call.
        tags: further words by which it is found.
        is_held: True if a change of it waits for approval: it is not found.
        kind: `tool` or `skill`.
    """

    key: int
    public: str
    server: str
    name: str
    definition: JsonObject
    effect: Effect
    tags: tuple[str, ...] = ()
    is_held: bool = False
    kind: str = "tool"

    def to_json(self) -> JsonObject:
        """Everything except its number; `from_json` reads it."""
        value: JsonObject = {**self._asdict(), "effect": self.effect.value, "tags": [*self.tags]}
        del value["key"]
        return value

    @classmethod
    def from_json(cls, key: int, value: dict[str, Any]) -> Self:
        """A tool of another gateway's catalogue, under a number of ours.

        Raises:
            ValueError: it is not a tool; also KeyError and TypeError.
        """
        tool = cls(**{**value, "key": key, "effect": Effect(value["effect"])})
        if not isinstance(tool.definition, dict):
            raise TypeError("the gateway lists something other than tools")
        return tool._replace(tags=tuple(map(str, tool.tags)))

    @property
    def title(self) -> str:
        """The title for people; empty if it has none."""
        inner = read_object(self.definition, "annotations").get("title")
        return to_text(self.definition.get("title")) or to_text(inner)

    @property
    def description(self) -> str:
        """The server's description."""
        return to_text(self.definition.get("description"))

    @property
    def is_for_models(self) -> bool:
        """False for a tool that only pages may call (MCP Apps, "Visibility")."""
        ui = read_object(read_object(self.definition, "_meta"), "ui")
        return "model" in as_list(ui.get("visibility", ["model"]))


class Filter(NamedTuple):
    """The tools that may be found.

    Attributes:
        servers: names of servers; None for all.
        effects: `read`, `write`, `destructive`; None for all.
        keys: of tools; None for all.
    """

    servers: frozenset[str] | None = None
    effects: frozenset[str] | None = None
    keys: frozenset[int] | None = None

    def has(self, tool: CatalogTool) -> bool:
        """True if a tool may be found."""
        own = (tool.server, tool.effect, tool.key)
        return all(some is None or each in some for each, some in zip(own, self, strict=True))


class Override(NamedTuple):
    """The user's own words for a tool.

    Attributes:
        name: replaces the server's; empty to keep it.
        description: replaces the server's; empty to keep it.
    """

    name: str = ""
    description: str = ""


class ShownTools:
    """The tools of one server, as the user wants agents to see them.

    Args:
        allow: globs of the server's names; empty for all.
        block: globs of hidden names.
        overrides: by the server's names.
        has_tool: True if the server is known to have a tool of a name.
    """

    def __init__(
        self,
        allow: tuple[str, ...] = (),
        block: tuple[str, ...] = (),
        overrides: Mapping[str, Override] | None = None,
        has_tool: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._allow = allow
        self._block = block
        self._overrides = dict(overrides or {})
        self._has_tool = has_tool

    @property
    def is_everything(self) -> bool:
        """True if tools are shown unchanged."""
        return not (self._allow or self._block or self._overrides)

    @property
    def has_names(self) -> bool:
        """True if a tool has a name other than the server's."""
        return bool(self._given_names())

    def own_name(self, shown: str) -> str | None:
        """The server's name of a tool; None if no tool has this name here."""
        given = self._given_names()
        renamed = [own for own, name in given.items() if name == shown]
        if renamed:
            return renamed[0]
        return None if shown in given else shown

    def _given_names(self) -> dict[str, str]:
        """The shown names of renamed tools; none is the own name of another tool."""
        given: dict[str, str] = {}
        for own, override in sorted(self._overrides.items()):
            name = override.name
            if name and name != own:
                given[own] = with_hash(name, own) if name in given.values() else name
        while taken := [
            own for own, name in given.items() if name not in given and self._has_tool(name)
        ]:
            for own in taken:
                del given[own]
        # A tool that was unknown when another tool was given its name.
        others = {*given.values()} - given.keys()
        return given | {name: with_hash(name, name) for name in others}

    def definitions(self, definitions: Iterable[JsonValue]) -> list[JsonValue]:
        """Each definition as agents see it; None if it is hidden."""
        names = self._given_names()
        return [self._show(definition, names) for definition in definitions]

    def _show(self, definition: JsonValue, names: Mapping[str, str]) -> JsonValue:
        own = as_object(definition).get("name")
        if not isinstance(definition, dict) or type(own) is not str:
            return definition
        if not passes(own, self._allow, self._block):
            return None
        override = self._overrides.get(own, Override())
        shown: JsonObject = {**definition, "name": names.get(own, own)}
        if override.description:
            shown["description"] = override.description
        return shown


def with_hash(name: str, own: str) -> str:
    """A name that ends in a part of a hash, used if another tool has the plain name."""
    digest = sha256(own.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{name}_{digest[:HASH_CHARS]}"


def schema_words(definition: JsonObject) -> Iterator[str]:
    """Names and descriptions of a tool's parameters, and their possible values."""
    schema = definition.get("inputSchema")
    stack: list[tuple[JsonValue, int]] = [(schema, 0)]
    count = 0
    while stack and count < MOST_SCHEMA_WORDS:
        value, depth = stack.pop()
        if not isinstance(value, dict) or depth > MOST_SCHEMA_DEPTH:
            continue
        for text in (value.get("title"), value.get("description")):
            if isinstance(text, str):
                count += 1
                yield text
        values, properties = as_list(value.get("enum")), read_object(value, "properties")
        yield from (text for text in values if type(text) is str)
        count += len(values) + len(properties)
        yield from properties
        stack += [(inner, depth + 1) for inner in reversed(properties.values())]
        stack.append((value.get("items"), depth + 1))


def to_text(value: JsonValue) -> str:
    """A value if it is text, else an empty one."""
    return value if type(value) is str else ""
