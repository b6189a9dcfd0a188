"""MCP with a handshake and without one (2026-07-28): one form of a message from the other.

A request without a handshake describes its sender in `_meta`, which is its envelope. Its result
tells whether it is complete, and how long it may be cached. Values only. Sources: MCP 2026-07-28,
basic/index, basic/versioning, basic/patterns/mrtr, server/utilities/caching, server/resources.
"""

from dataclasses import dataclass

from pipeguard.firewall.protocol import codes, peers
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    Number,
    as_object,
    read_object,
)
from pipeguard.transports.http import request_headers

STATELESS = request_headers.STATELESS
REVISIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")  # with a handshake
INVALID_PARAMS = -32602
RESOURCE_NOT_FOUND = -32002  # MCP 2025-11-25, server/resources, "Error Handling"
UNSUPPORTED_VERSION = -32022
PREFIX = "io.modelcontextprotocol/"  # of the envelope's keys in `_meta`
VERSION = request_headers.VERSION_META
CAPABILITIES = f"{PREFIX}clientCapabilities"
CLIENT = f"{PREFIX}clientInfo"
LOG_LEVEL = f"{PREFIX}logLevel"
SERVER = f"{PREFIX}serverInfo"
APPS = f"{PREFIX}ui"  # an extension (MCP Apps 2026-01-26)
# Results that a client may cache, for a time that the server must give.
CACHED = {
    "server/discover",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "skills/list",
    "skills/get",
}
_WITHOUT_HANDSHAKE = {"server/discover", "subscriptions/listen"}
UNKNOWN: JsonObject = {"name": "unknown", "version": "0"}
_OF_RESULTS = ("resultType", "ttlMs", "cacheScope")
_OF_RETRIES = ("inputResponses", "requestState")


@dataclass(slots=True, eq=False)
class Opening:
    """A client's description of itself when a server is opened for it.

    Attributes:
        capabilities: its declared capabilities.
        client_info: its name and version.
        revision: its revision of MCP.
        log_level: the lowest level of logs it wants, from `logging/setLevel`; None before.
    """

    capabilities: JsonObject
    client_info: JsonObject
    revision: str = REVISIONS[0]
    log_level: JsonValue = None

    @property
    def is_stateless(self) -> bool:
        """True if it makes no handshake."""
        return self.revision == STATELESS

    @property
    def extensions(self) -> JsonObject:
        """Its capabilities without those that are needed for questions."""
        declared = read_object(self.capabilities, "extensions")
        return {"extensions": declared} if declared else {}

    def answers(self, method: str, params: JsonValue) -> bool:
        """True if the client declared that it answers such a request of a server.

        Servers only know the gateway's capabilities. A client that does not declare URLs is shown
        none (MCP 2025-11-25, client/elicitation: `{}` means only forms).
        """
        name = peers.CAPABILITIES.get(method)
        if name not in self.capabilities:
            return False
        detail = self.capabilities[name]
        mode = as_object(params).get("mode")
        return mode != "url" or mode in as_object(detail)

    def params(self) -> JsonObject:
        """The params of `initialize` (MCP 2025-11-25, basic/lifecycle)."""
        return {
            "protocolVersion": REVISIONS[0] if self.is_stateless else self.revision,
            "capabilities": self.capabilities,
            "clientInfo": self.client_info,
        }


class Declined(Exception):  # noqa: N818  becomes the answer to one request
    """A request that the gateway itself answers with an error.

    Attributes:
        code: of the error.
        data: of the error; None for none.
    """

    def __init__(self, code: int, why: str, data: JsonObject | None = None) -> None:
        super().__init__(why)
        self.code = code
        self.data = data

    def error(self) -> JsonObject:
        """The answer."""
        error: JsonObject = {"code": Number(str(self.code)), "message": str(self)}
        return {"error": error if self.data is None else {**error, "data": self.data}}


def refusal(code: int, why: str, data: JsonObject | None = None) -> JsonObject:
    """The answer to a request that PipeGuard does not forward, or cannot answer."""
    return Declined(code, f"PipeGuard: {why}", data).error()


# --- requests -------------------------------------------------------------------------------


def write_message(method: str, params: JsonObject | None = None) -> JsonObject:
    """A notification; with an id, a request."""
    value: JsonObject = {"jsonrpc": "2.0", "method": method}
    return value if params is None else {**value, "params": params}


def find_meta(params: JsonObject) -> JsonObject:
    """The `_meta` of params; empty if there is none."""
    return read_object(params, "_meta")


def find_opening(method: str, params: JsonObject) -> Opening | None:
    """A client's description in its request; None if a handshake gave it."""
    meta = find_meta(params)
    if VERSION not in meta and method not in _WITHOUT_HANDSHAKE:
        return None
    info = read_object(meta, CLIENT) or UNKNOWN
    return Opening(read_object(meta, CAPABILITIES), info, STATELESS)


def check_envelope(params: JsonObject) -> None:
    """Check a request's description of its client.

    Raises:
        Declined: it is incomplete, or of another revision.
    """
    meta = find_meta(params)
    for key in (VERSION, CAPABILITIES):
        if key not in meta:
            raise Declined(INVALID_PARAMS, f"_meta lacks {key}")
    version = meta[VERSION]
    if type(version) is not str:
        raise Declined(INVALID_PARAMS, f"{VERSION} is not a string")
    for key in (CAPABILITIES, CLIENT):
        if not isinstance(meta.get(key, {}), dict):
            raise Declined(INVALID_PARAMS, f"{key} is not an object")
    if version != STATELESS:
        data: JsonObject = {"supported": [STATELESS, *REVISIONS], "requested": version}
        raise Declined(UNSUPPORTED_VERSION, "Unsupported protocol version", data)


def with_envelope(params: JsonObject, opening: Opening) -> JsonObject:
    """Params for a server without handshakes; unchanged if they have an envelope."""
    meta = find_meta(params)
    if VERSION in meta:
        return params
    # A client with a handshake cannot follow a task of the extension.
    extensions = {**read_object(opening.capabilities, "extensions")}
    extensions.pop(f"{PREFIX}tasks", None)
    said: JsonObject = {
        VERSION: STATELESS,
        CLIENT: opening.client_info,
        CAPABILITIES: {**opening.capabilities, "extensions": extensions},
    }
    if opening.log_level is not None:
        said[LOG_LEVEL] = opening.log_level
    return {**params, "_meta": {**meta, **said}}


def without_envelope(params: JsonObject) -> JsonObject:
    """Params for a server with a handshake."""
    kept = {name: value for name, value in params.items() if name not in _OF_RETRIES}
    meta = {name: value for name, value in find_meta(params).items() if not name.startswith(PREFIX)}
    if meta:
        kept["_meta"] = meta
    elif "_meta" in kept:
        del kept["_meta"]
    return kept


# --- answers --------------------------------------------------------------------------------


def without_handshake(method: str, params: JsonObject, answer: JsonObject) -> JsonObject:
    """An answer in the form for a client without a handshake."""
    result, error = answer.get("result"), read_object(answer, "error")
    if isinstance(result, dict):
        return {"result": _add_type(method, result)}
    if str(error.get("code")) == str(RESOURCE_NOT_FOUND):
        uri: JsonObject = {"uri": params.get("uri")}
        return {"error": {**error, "code": Number(str(INVALID_PARAMS)), "data": uri}}
    return answer


def with_handshake(method: str, answer: JsonObject) -> JsonObject:
    """An answer of a server without handshakes, in the form for a client that made one."""
    result, error = answer.get("result"), read_object(answer, "error")
    if isinstance(result, dict):
        if result.get("resultType", "complete") != "complete":
            return refusal(
                codes.PEER_BROKE_PROTOCOL, "this client cannot answer what the server asks"
            )
        plain = {name: value for name, value in result.items() if name not in _OF_RESULTS}
        return {"result": plain}
    is_missing = method == "resources/read" and "uri" in read_object(error, "data")
    if is_missing and str(error.get("code")) == str(INVALID_PARAMS):
        return {"error": {**error, "code": Number(str(RESOURCE_NOT_FOUND))}}
    return answer


def _add_type(method: str, result: JsonObject) -> JsonObject:
    """A result with its type, and with cache hints: by default it may not be cached."""
    if "resultType" not in result:
        result = {"resultType": "complete", **result}
    if method not in CACHED or result["resultType"] != "complete":
        return result
    hints: dict[str, JsonValue] = {"ttlMs": Number("0"), "cacheScope": "private"}
    return {**hints, **result}
