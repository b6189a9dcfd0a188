"""The methods of all revisions of the protocol, and names that look like one of them."""

import re
from collections.abc import Iterable

from pipeguard.errors import Refusal
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol import codes, ids, pending, places, spelling
from pipeguard.firewall.protocol.json_values import JsonObject, as_object
from pipeguard.firewall.protocol.message import Message

_WITH_PLACES = places.PLACES["params"].keys() | places.PLACES["result"].keys()
_WITHOUT_PLACES = frozenset(
    {
        "ping",
        "logging/setLevel",
        "roots/list",
        "subscriptions/listen",
        "tasks/get",
        "tasks/result",
        "tasks/list",
        "tasks/cancel",
        "tasks/update",
        "notifications/initialized",
        "notifications/cancelled",
        "notifications/resources/updated",
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/roots/list_changed",
        "notifications/elicitation/complete",
        "notifications/subscriptions/acknowledged",
    }
)
METHODS = _WITH_PLACES | _WITHOUT_PLACES | places.LISTS.keys() | places.OPENINGS
# Methods that are never notifications.
REQUESTS_ONLY = frozenset(
    {
        "tools/call",
        "tools/list",
        "prompts/get",
        "prompts/list",
        "resources/read",
        "resources/list",
        "resources/templates/list",
        "resources/directory/read",
        "skills/list",
        "skills/get",
        "completion/complete",
        "initialize",
        "server/discover",
        "sampling/createMessage",
        "elicitation/create",
        "roots/list",
    }
)
_NO_LETTERS = lazy_regex(r"[^a-z]+")
_LETTERS = frozenset(_NO_LETTERS.sub("", method.casefold()) for method in METHODS)


def check_method(message: Message) -> None:
    """Refuse a method that differs from a protocol method only in its spelling.

    Some peers compare loosely, or look a method up as a web server looks up a path (`tools//call`,
    `tools.call`), while rules go by the exact method. A method of no revision passes.

    Raises:
        Refusal: the method is a look-alike.
    """
    method = message.method or ""
    if method in METHODS:
        return
    path = re.split("[?#;]", spelling.folded_name(method).replace("%2f", "/"), maxsplit=1)[0]
    if _NO_LETTERS.sub("", path) in _LETTERS:
        raise Refusal(
            "protocol.method-look-alike",
            "the method differs from a protocol method only in its spelling",
            codes.INVALID_REQUEST,
            message.id_token,
        )


# --- notifications ----------------------------------------------------------------------
# Notifications by importance: some may be dropped, others must be forwarded.

INITIALIZED = "notifications/initialized"
CANCELLED = "notifications/cancelled"
PROGRESS = "notifications/progress"
LOG_MESSAGE = "notifications/message"
TASK_STATUS = "notifications/tasks"  # of the tasks extension
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
# Without these the conversation stalls: from a poisoned one only the free text is removed.
ESSENTIAL = frozenset({INITIALIZED, CANCELLED, ACKNOWLEDGED})
# Servers send these in numbers, and the loss of one does no harm.
EXPENDABLE = frozenset({PROGRESS, LOG_MESSAGE})


def without_free_text(value: JsonObject) -> JsonObject:
    """An essential notification, reduced to the members that have an effect."""
    method = value["method"]
    params = value.get("params")
    bare: JsonObject = {"jsonrpc": "2.0", "method": method}
    if not isinstance(params, dict):
        return bare
    effective: JsonObject = {}
    if method == CANCELLED and ids.write_id(params.get("requestId")) is not None:
        effective["requestId"] = params["requestId"]
    if method == ACKNOWLEDGED:
        subscription = as_object(params.get("_meta")).get(SUBSCRIPTION_META)
        effective["notifications"] = granted_flags(params)
        if ids.write_id(subscription) is not None:
            effective["_meta"] = {SUBSCRIPTION_META: subscription}
    return {**bare, "params": effective}


# --- subscriptions ----------------------------------------------------------------------
# Which list changes are announced on a subscription stream (MCP 2026-07-28, server/utilities).

LISTEN = "subscriptions/listen"
SUBSCRIPTION_META = "io.modelcontextprotocol/subscriptionId"  # 2026-07-28 basic/index
_LISTS = {
    "toolsListChanged": "tools",
    "promptsListChanged": "prompts",
    "resourcesListChanged": "resources",
}


def read_lists(params: JsonObject) -> frozenset[str]:
    """The lists that a `subscriptions/listen` asks for, or that its acknowledgement grants."""
    flags = as_object(params.get("notifications"))
    return frozenset(kind for name, kind in _LISTS.items() if flags.get(name) is True)


def granted_flags(params: JsonObject) -> JsonObject:
    """The `notifications` of an acknowledgement, with only the flags that `read_lists` reads."""
    granted = read_lists(params)
    return {name: True for name, kind in _LISTS.items() if kind in granted}


def acknowledge(open_requests: Iterable[pending.PendingRequest], params: JsonObject) -> None:
    """Record an acknowledgement: requested lists that it grants are announced from now on."""
    meta = as_object(params.get("_meta"))
    token = ids.write_id(meta.get(SUBSCRIPTION_META))
    for request in open_requests:
        if request.id_token == token and request.method == LISTEN and request.forwarded:
            request.announced_lists = request.requested_lists & read_lists(params)
