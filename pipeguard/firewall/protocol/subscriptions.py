"""Which list changes are announced on a subscription stream (MCP 2026-07-28, server/utilities).

In that revision nothing is announced unasked: the client sends `subscriptions/listen`, the server
acknowledges what it will announce, and each notification names the request.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeguard.firewall.protocol.ids import id_token_of
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.firewall.protocol.pending import PendingRequest

LISTEN = "subscriptions/listen"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
SUBSCRIPTION_META = "io.modelcontextprotocol/subscriptionId"  # 2026-07-28 basic/index
_LISTS = {
    "toolsListChanged": "tools",
    "promptsListChanged": "prompts",
    "resourcesListChanged": "resources",
}


def lists_in(value: JsonObject) -> frozenset[str]:
    """The lists that a `subscriptions/listen` asks for, or that its acknowledgement grants."""
    params = value.get("params")
    flags = params.get("notifications") if isinstance(params, dict) else None
    if not isinstance(flags, dict):
        return frozenset()
    return frozenset(kind for name, kind in _LISTS.items() if flags.get(name) is True)


def granted_flags(value: JsonObject) -> JsonObject:
    """The `notifications` of an acknowledgement, with only the flags that `lists_in` reads."""
    granted = lists_in(value)
    return {name: True for name, kind in _LISTS.items() if kind in granted}


def acknowledge(open_requests: Iterable[PendingRequest], value: JsonObject) -> None:
    """Record an acknowledgement: what was requested and granted is announced from now on."""
    params = value.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    token = id_token_of(meta.get(SUBSCRIPTION_META)) if isinstance(meta, dict) else None
    for request in open_requests:
        if request.id_token == token and request.method == LISTEN and request.forwarded:
            request.announced_lists = request.requested_lists & lists_in(value)
