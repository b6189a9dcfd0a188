"""What the two sides of a conversation told each other about themselves. Checks nothing.

Of what they say only what is asked for later is kept: it may be of any length.
"""

from __future__ import annotations

from pipeguard.core.protocol.json_values import JsonObject, JsonValue

# Of each server request, the capability that a client declares for it (client/*).
CAPABILITIES = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
    "roots/list": "roots",
}
LISTED = {"tool": "tools", "prompt": "prompts", "resource": "resources"}
MAX_REVISION_CHARS = 32  # a date has ten


class Peers:
    """What the two sides told each other about themselves.

    Attributes:
        revision: the agreed one of a handshake, or None.
        announces: of the lists, which changes the server said that it announces.
        capabilities: of those that requests need, what the client declared.
        begun: True once the client has spoken.
        handshake: True once it sent `initialize`; without it, each message says its revision
            (2026-07-28).
        agreed: True once the server has answered that.
        initialized: True once the client has said that it is ready.
    """

    __slots__ = (
        *("agreed", "announces", "begun", "capabilities", "handshake", "initialized"),
        "revision",
    )

    def __init__(self) -> None:
        self.revision: str | None = None
        self.announces: frozenset[str] = frozenset()
        self.capabilities: frozenset[str] = frozenset()
        self.begun = self.handshake = self.agreed = self.initialized = False

    def shake(self, params: JsonValue) -> None:
        """The client begins a handshake, and declares what it can."""
        self.handshake, self.agreed, self.initialized = True, False, False
        declared = params.get("capabilities") if isinstance(params, dict) else None
        found = set()
        for name in CAPABILITIES.values():
            if isinstance(declared, dict) and name in declared:
                modes = declared[name]
                found.add(name)
                if isinstance(modes, dict) and "url" in modes:
                    found.add(f"{name}/url")
        self.capabilities = frozenset(found)

    def open(self, method: str, result: JsonObject) -> None:
        """The server describes itself."""
        version, capabilities = result.get("protocolVersion"), result.get("capabilities")
        if method == "initialize":
            self.agreed = True
            if type(version) is str:
                self.revision = version[:MAX_REVISION_CHARS]
        if isinstance(capabilities, dict):
            details = {name: capabilities.get(name) for name in LISTED.values()}
            self.announces = frozenset(
                name
                for name, detail in details.items()
                if isinstance(detail, dict) and detail.get("listChanged") is True
            )
