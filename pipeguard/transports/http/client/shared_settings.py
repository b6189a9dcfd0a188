"""Settings that a server keeps once for all its clients: a log level, subscriptions.

The server is told the most verbose level that any client wants, and subscribed to a resource while
any client is; its announcements go to the clients that want them (MCP 2025-11-25,
server/utilities/logging, server/resources).
"""

from collections.abc import Hashable, Iterable
from typing import TypeVar

from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Number, as_object

SET_LEVEL = "logging/setLevel"
SUBSCRIBE, UNSUBSCRIBE = "resources/subscribe", "resources/unsubscribe"
MOST_SUBSCRIPTIONS = 1_024  # of one client at one server
MOST_PATH_CHARS = 2_048  # of an address that others are below
# The levels of a log, from RFC 5424, the most verbose first (MCP, server/utilities/logging).
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
USUAL_LEVEL = "info"  # of a client that sets no level, if another one sets one
_UPDATED, _LOG = "notifications/resources/updated", "notifications/message"
C = TypeVar("C", bound=Hashable)


class SharedSettings:
    """The log levels and subscriptions of the clients of one server, until it is gone."""

    def __init__(self) -> None:
        self._clients: dict[Hashable, dict[str, None]] = {}  # with the addresses subscribed to
        self._levels: dict[Hashable, str] = {}
        self._level = ""  # of the server; empty while no client has set one

    def join(self, client: Hashable) -> list[JsonObject]:
        """Add a client that hears announcements; return requests for the server."""
        self._clients[client] = {}
        return self._level_changed()

    def leave(self, client: Hashable) -> list[JsonObject]:
        """Remove a client; return requests for the server, without ids."""
        own = self._clients.pop(client, {})
        self._levels.pop(client, None)
        left = [_request(UNSUBSCRIBE, {"uri": uri}) for uri in own if not self._is_wanted(uri)]
        return left + self._level_changed()

    def clear(self) -> None:
        """Forget the clients of a server that is gone, and their settings."""
        self._clients.clear()
        self._levels.clear()
        self._level = ""

    def relay(self, client: Hashable, request: JsonObject) -> JsonObject:
        """The request to send to the server, or the `result` or `error` of our own answer."""
        body = as_object(request.get("params"))
        method, uri, level = request.get("method"), body.get("uri"), body.get("level")
        if method == SET_LEVEL and type(level) is str and level in LEVELS:
            self._levels[client] = level
            self._level = self._most_verbose()
            return {**request, "params": {**body, "level": self._level}}
        own = self._clients.get(client)
        if own is None or type(uri) is not str:
            return request
        if method == SUBSCRIBE:
            if len(own) >= MOST_SUBSCRIPTIONS and uri not in own:
                return _TOO_MANY
            own[uri] = None
        elif method == UNSUBSCRIBE:
            own.pop(uri, None)
            if self._is_wanted(uri):
                return {"result": {}}
        return request

    def listeners(self, notification: JsonObject, clients: Iterable[C]) -> list[C]:
        """The clients that want an announcement of the server."""
        body = as_object(notification.get("params"))
        method = notification.get("method")
        if method == _LOG:
            level = str(body.get("level"))
            return [
                client
                for client in clients
                if client in self._clients
                and (not self._level or is_logged(level, self._levels.get(client, USUAL_LEVEL)))
            ]
        if method != _UPDATED:
            return list(clients)
        present = list(clients)
        addresses = _with_parents(body.get("uri"))
        wanting = [
            client
            for client in present
            if any(address in self._clients.get(client, ()) for address in addresses)
        ]
        # Some servers write an address otherwise than their clients do.
        return wanting or [client for client in present if self._clients.get(client)]

    def _most_verbose(self) -> str:
        wanted = [self._levels.get(client, USUAL_LEVEL) for client in self._clients]
        return min([*wanted, *self._levels.values()], key=LEVELS.index)

    def _level_changed(self) -> list[JsonObject]:
        """The request that sets a new log level at the server."""
        if not self._level or not self._clients:
            return []
        before, self._level = self._level, self._most_verbose()
        return [_request(SET_LEVEL, {"level": self._level})] if self._level != before else []

    def _is_wanted(self, uri: str) -> bool:
        return any(uri in own for own in self._clients.values())


def is_logged(level: str, least: str | None) -> bool:
    """True if a line of a log is at least of a level; False if no level was asked for."""
    if least not in LEVELS:
        return False
    return level not in LEVELS or LEVELS.index(level) >= LEVELS.index(least)


def _with_parents(uri: JsonValue) -> list[str]:
    """An address, and its parents."""
    if type(uri) is not str:
        return []
    addresses, end = [uri], uri.rfind("/")
    while 0 < end <= MOST_PATH_CHARS:
        addresses += [uri[:end], uri[: end + 1]]
        end = uri.rfind("/", 0, end)
    return addresses


def _request(method: str, params: dict[str, JsonValue]) -> JsonObject:
    return {"jsonrpc": "2.0", "method": method, "params": params}


_TOO_MANY: JsonObject = {
    "error": {
        "code": Number(str(codes.OVERLOADED)),
        "message": f"PipeGuard: there are {MOST_SUBSCRIPTIONS} subscriptions already",
    }
}
