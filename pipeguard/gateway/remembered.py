"""A server that does not run, as its pins have it: a channel that lists what it offered last.

What it lists goes through a Session as if the server itself said it, so that no more of it is
shown than would be then. It answers lists only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Number, serialise
from pipeguard.firewall.protocol.places import LISTS
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.transports.channel import ChannelClosed

PAGE_BYTES = 2**20
_CAPABILITIES = {
    "tool": "tools",
    "prompt": "prompts",
    "resource": "resources",
    "template": "resources",
}


def remembers(pins: Iterable[Pin]) -> bool:
    """True where pins say what a server offers."""
    return any(pin.kind in _CAPABILITIES for pin in pins)


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
        """Take a message, and answer it where it is a request.

        Raises:
            ChannelClosed: this side was closed.
        """
        if self._closed:
            raise ChannelClosed("closed")
        message = parse_json(frame)
        if isinstance(message, dict) and "id" in message and "method" in message:
            params = message.get("params")
            body = params if isinstance(params, dict) else {}
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
            capability: {}
            for kind, capability in _CAPABILITIES.items()
            if kind in self._definitions
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
    """Take as many as fit into a page, and at least one."""
    size = 0
    for definition in definitions:
        yield definition
        size += len(serialise(definition))
        if size >= PAGE_BYTES:
            return
