"""Which tools of a server agents see, and under which names and descriptions: as the user says.

In the catalogue names have a prefix besides; at the server's own endpoint they are as here.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from pipeguard.core.protocol.json_values import JsonObject, JsonValue
from pipeguard.gateway.catalog import HASH_CHARS, Override, is_shown


class ShownTools:
    """The tools of one server, as the user wants agents to see them.

    Args:
        allow: globs of the server's names; empty for all.
        block: globs of names that nobody sees.
        overrides: by the server's names.
    """

    def __init__(
        self,
        allow: tuple[str, ...] = (),
        block: tuple[str, ...] = (),
        overrides: Mapping[str, Override] | None = None,
    ) -> None:
        self._allow = allow
        self._block = block
        self._overrides = dict(overrides or {})
        self._own: dict[str, str] = {}  # names, by those given
        self._given: dict[str, str] = {}
        for own, override in self._overrides.items():
            if override.name and override.name != own:
                name = override.name
                if name in self._own:  # another tool was given it
                    name = with_hash(name, own)
                self._own[name], self._given[own] = own, name
        for taken in [name for name in self._own if name not in self._given]:
            name = with_hash(taken, taken)  # for a tool whose own name another one was given
            self._own[name], self._given[taken] = taken, name

    @property
    def is_everything(self) -> bool:
        """True where tools are shown as they are."""
        return not (self._allow or self._block or self._overrides)

    @property
    def has_names(self) -> bool:
        """True where a tool has another name than the server's."""
        return bool(self._given)

    def shows(self, own: str) -> bool:
        """True where agents may see a tool."""
        return is_shown(own, self._allow, self._block)

    def own_name(self, shown: str) -> str | None:
        """The server's name of a tool; None where no tool is called so here."""
        own = self._own.get(shown)
        if own is None and shown not in self._given:
            own = shown
        return own

    def definition(self, definition: JsonValue) -> JsonValue:
        """A definition as agents see it; None where they do not."""
        own = definition.get("name") if isinstance(definition, dict) else None
        if not isinstance(definition, dict) or type(own) is not str:
            return definition
        if not self.shows(own):
            return None
        override = self._overrides.get(own, Override())
        shown: JsonObject = {**definition, "name": self._given.get(own, own)}
        if override.description:
            shown["description"] = override.description
        return shown


def with_hash(name: str, own: str) -> str:
    """A name that ends in a part of a hash, for where the plain one is another tool's."""
    digest = sha256(own.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{name}_{digest[:HASH_CHARS]}"
