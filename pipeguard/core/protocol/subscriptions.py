"""Of which lists a client hears on a stream that it asked for (MCP 2026-07-28, server/utilities).

In that revision nothing is announced to a client that did not ask: it sends `subscriptions/listen`,
the server acknowledges what it will tell, and each notification names the request.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeguard.core.protocol.ids import id_token_of
from pipeguard.core.protocol.json_values import JsonObject
from pipeguard.core.protocol.pending import PendingRequest

LISTEN = "subscriptions/listen"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
SUBSCRIPTION_META = "io.modelcontextprotocol/subscriptionId"  # 2026-07-28 basic/index
_LISTS = {
    "toolsListChanged": "tools",
    "promptsListChanged": "prompts",
    "resourcesListChanged": "resources",
}


def lists_in(value: JsonObject) -> frozenset[str]:
    """The lists that a `subscriptions/listen` asks for, or an acknowledgement of one grants."""
    params = value.get("params")
    wanted = params.get("notifications") if isinstance(params, dict) else None
    if not isinstance(wanted, dict):
        return frozenset()
    return frozenset(kind for name, kind in _LISTS.items() if wanted.get(name) is True)


def flags_in(value: JsonObject) -> JsonObject:
    """The same as it is written, without whatever else stands there."""
    granted = lists_in(value)
    return {name: True for name, kind in _LISTS.items() if kind in granted}


def acknowledge(open_requests: Iterable[PendingRequest], value: JsonObject) -> None:
    """The server has said what it will tell: of that, what was asked for is told from now on."""
    params = value.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    token = id_token_of(meta.get(SUBSCRIPTION_META)) if isinstance(meta, dict) else None
    for request in open_requests:
        if request.id_token == token and request.method == LISTEN and request.forwarded:
            request.told_of = request.asks_for & lists_in(value)
