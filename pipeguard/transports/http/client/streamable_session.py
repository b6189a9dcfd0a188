"""What a client of Streamable HTTP remembers of its session, and repeats in its headers.

Sources: MCP 2025-06-18, basic/transports, "Session Management" and "Protocol Version Header";
2026-07-28, basic/transports/streamable-http, "Request Headers".
"""

from __future__ import annotations

import aiohttp

from pipeguard.core.protocol import request_headers
from pipeguard.core.protocol.json_values import JsonObject, JsonValue
from pipeguard.transports.http.headers import BOTH, JSON, SESSION_ID, is_session_id

MOST_MIRRORED = 1024  # tools whose parameters have headers
MOST_NAME_CHARS = 1024
PLAIN_HEADERS = {"Content-Type": JSON, "Accept": BOTH}


class StreamableSession:
    """What is known of one session.

    Attributes:
        id: given by the server, or None.
        revision: of MCP, as agreed in the opening; None without one.
    """

    def __init__(self) -> None:
        self.id: str | None = None
        self.revision: str | None = None
        self._mirrored: dict[str, dict[str, tuple[str, ...]]] = {}

    def begin(self, answer: aiohttp.ClientResponse) -> None:
        """Take the session id from the answer to an opening; an invalid one is ignored."""
        session_id = answer.headers.get(SESSION_ID)
        is_valid = session_id is not None and is_session_id(session_id)
        self.id = session_id if is_valid else None

    def headers(self, value: JsonValue) -> dict[str, str]:
        """The headers of a request.

        Args:
            value: the message in its body; None without one.
        """
        headers = dict(PLAIN_HEADERS)
        if isinstance(value, dict) and request_headers.revision_of(value) is not None:
            params = value.get("params")
            name = params.get("name") if isinstance(params, dict) else None
            mirrored = self._mirrored.get(name, {}) if type(name) is str else {}
            return headers | request_headers.headers_of(value, mirrored)
        if self.id is not None:
            headers[SESSION_ID] = self.id
        if self.revision is not None:
            headers[request_headers.VERSION] = self.revision
        return headers

    def learn(self, request: JsonObject, result: JsonObject) -> None:
        """Remember the agreed revision, and which parameters of tools are repeated in headers."""
        if request.get("method") == "initialize":
            revision = result.get("protocolVersion")
            is_valid = type(revision) is str and is_session_id(revision)  # fits into a header
            self.revision = str(revision) if is_valid else None
        tools = result.get("tools")
        if request.get("method") != "tools/list" or not isinstance(tools, list):
            return
        for tool in tools:
            name = tool.get("name") if isinstance(tool, dict) else None
            if type(name) is str:
                self._mirror(name, request_headers.mirrored_by(tool))

    def _mirror(self, tool: str, mirrored: dict[str, tuple[str, ...]]) -> None:
        """Remember the headers of one tool; of too many tools, the oldest are dropped."""
        self._mirrored.pop(tool, None)
        if not mirrored or len(tool) > MOST_NAME_CHARS:
            return
        while len(self._mirrored) >= MOST_MIRRORED:
            del self._mirrored[next(iter(self._mirrored))]
        self._mirrored[tool] = mirrored
