"""Notifications by what depends on them: which may be dropped, and which must go on."""

from __future__ import annotations

from pipeguard.firewall.protocol.ids import id_token_of
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.firewall.protocol.subscriptions import ACKNOWLEDGED, SUBSCRIPTION_META, granted_flags

INITIALIZED = "notifications/initialized"
CANCELLED = "notifications/cancelled"
PROGRESS = "notifications/progress"
LOG_MESSAGE = "notifications/message"
TASK_STATUS = "notifications/tasks"  # of the tasks extension
# Without these the conversation stalls: from a poisoned one only the free text is removed.
ESSENTIAL = frozenset({INITIALIZED, CANCELLED, ACKNOWLEDGED})
# Servers send these in numbers, and the loss of one does no harm.
EXPENDABLE = frozenset({PROGRESS, LOG_MESSAGE})


def without_free_text(value: JsonObject) -> JsonObject:
    """An essential notification, reduced to the members that have an effect."""
    method, params = value["method"], value.get("params")
    bare: JsonObject = {"jsonrpc": "2.0", "method": method}
    if not isinstance(params, dict):
        return bare
    effective: JsonObject = {}
    if method == CANCELLED and id_token_of(params.get("requestId")) is not None:
        effective["requestId"] = params["requestId"]
    if method == ACKNOWLEDGED:
        meta = params.get("_meta")
        effective["notifications"] = granted_flags(value)
        if isinstance(meta, dict) and id_token_of(meta.get(SUBSCRIPTION_META)) is not None:
            effective["_meta"] = {SUBSCRIPTION_META: meta[SUBSCRIPTION_META]}
    return {**bare, "params": effective}
