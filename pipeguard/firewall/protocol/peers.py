"""Declarations of client and server about themselves. Checks nothing.

Keeps only the parts that a later check needs: declarations may be of any length.
"""

from __future__ import annotations

from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, as_object, read_object

# The capability that a client declares for each server request (client/*).
CAPABILITIES = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
    "roots/list": "roots",
}
MODES = ("form", "url")  # of elicitation
SKILLS = "io.modelcontextprotocol/skills"  # an extension (SEP-2640, "Capability Negotiation")
LISTED = {"tool": "tools", "prompt": "prompts", "resource": "resources"}
MAX_REVISION_CHARS = 32  # a date has ten


def announces_list(capabilities: JsonObject, method: str) -> bool:
    """True if a server declares that it answers a list request."""
    if method == "skills/list":
        return SKILLS in read_object(capabilities, "extensions")
    name = {"tools/list": "tools", "prompts/list": "prompts"}.get(method, "resources")
    return name in capabilities


class Peers:
    """Declarations of client and server about themselves.

    Attributes:
        revision: the one agreed in a handshake, or None.
        announces: the lists whose changes the server declared that it announces.
        capabilities: from `CAPABILITIES`, as the client declared them, with their modes.
        begun: True once the client has sent anything.
        handshake: True once the client has sent `initialize`; without it each message states its
            revision (2026-07-28).
        agreed: True once the server has answered `initialize`.
        initialized: True once the client has sent `notifications/initialized`.
    """

    def __init__(self) -> None:
        self.revision: str | None = None
        self.announces: frozenset[str] = frozenset()
        self.capabilities: frozenset[str] = frozenset()
        self.begun = self.handshake = self.agreed = self.initialized = False

    @classmethod
    def read_client(cls, revision: str, declared: JsonValue) -> Peers:
        """The declarations of a client that speaks a revision."""
        peers = cls()
        peers.revision = revision
        peers.declare(declared)
        return peers

    def begin_handshake(self, params: JsonValue) -> None:
        """Record the params of the client's `initialize`."""
        self.handshake = True
        self.agreed = False
        self.initialized = False
        self.declare(as_object(params).get("capabilities"))

    def declare(self, declared: JsonValue) -> None:
        """Record the capabilities that the client declares."""
        capabilities = set()
        declarations = as_object(declared)
        for name in CAPABILITIES.values():
            if name in declarations:
                modes = declarations[name]
                capabilities.add(name)
                if name == "elicitation" and isinstance(modes, dict):
                    # An empty declaration means only forms (MCP 2025-11-25 client/elicitation).
                    capabilities |= {f"{name}/{mode}" for mode in MODES if mode in modes}
                    capabilities |= set() if modes else {f"{name}/form"}
        self.capabilities = frozenset(capabilities)

    def describe_server(self, method: str, result: JsonObject) -> None:
        """Record the server's answer to `initialize` or `server/discover`."""
        version = result.get("protocolVersion")
        capabilities = result.get("capabilities")
        if method == "initialize":
            self.agreed = True
            if type(version) is str:
                self.revision = version[:MAX_REVISION_CHARS]
        if isinstance(capabilities, dict):
            self.announces = frozenset(
                name
                for name in LISTED.values()
                if as_object(capabilities.get(name)).get("listChanged") is True
            )
