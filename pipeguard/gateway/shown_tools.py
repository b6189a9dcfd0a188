"""Which tools of a server agents see, and under which names and descriptions: as the user says.

In the catalogue names have a prefix besides; at the server's own endpoint they are as here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256

from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue
from pipeguard.gateway.catalog import HASH_CHARS, Override, is_shown


class ShownTools:
    """The tools of one server, as the user wants agents to see them.

    Args:
        allow: globs of the server's names; empty for all.
        block: globs of names that nobody sees.
        overrides: by the server's names.
        has_tool: says whether the server has a tool of a name, as far as is known.
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
        """True where tools are shown as they are."""
        return not (self._allow or self._block or self._overrides)

    @property
    def has_names(self) -> bool:
        """True where a tool has another name than the server's."""
        return bool(given_names(self._overrides, self._has_tool))

    def shows(self, own: str) -> bool:
        """True where agents may see a tool."""
        return is_shown(own, self._allow, self._block)

    def own_name(self, shown: str) -> str | None:
        """The server's name of a tool; None where no tool is called so here."""
        given = self._given()
        renamed = [own for own, name in given.items() if name == shown]
        if renamed:
            return renamed[0]
        return None if shown in given else shown

    def _given(self) -> dict[str, str]:
        """The names of tools that have others than the server's."""
        given = given_names(self._overrides, self._has_tool)
        names = set(given.values())
        # A tool of which nothing was known when another one was given its name.
        return given | {name: with_hash(name, name) for name in names - given.keys()}

    def definition(self, definition: JsonValue) -> JsonValue:
        """A definition as agents see it; None where they do not."""
        own = definition.get("name") if isinstance(definition, dict) else None
        if not isinstance(definition, dict) or type(own) is not str:
            return definition
        if not self.shows(own):
            return None
        override = self._overrides.get(own, Override())
        shown: JsonObject = {**definition, "name": self._given().get(own, own)}
        if override.description:
            shown["description"] = override.description
        return shown


def given_names(
    overrides: Mapping[str, Override], has_tool: Callable[[str], bool]
) -> dict[str, str]:
    """The names that the user gives to tools, by the server's; a tool's own name is nobody else's.

    Args:
        overrides: by the server's names.
        has_tool: says whether the server has a tool of a name, as far as is known.
    """
    given: dict[str, str] = {}
    for own, override in sorted(overrides.items()):
        name = override.name
        if name and name != own:
            given[own] = with_hash(name, own) if name in given.values() else name
    while taken := [own for own, name in given.items() if name not in given and has_tool(name)]:
        for own in taken:
            del given[own]
    return given


def with_hash(name: str, own: str) -> str:
    """A name that ends in a part of a hash, for where the plain one is another tool's."""
    digest = sha256(own.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{name}_{digest[:HASH_CHARS]}"
