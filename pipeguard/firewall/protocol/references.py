"""Which of a server's definitions a request uses: tools, prompts, resources. Judges none."""

from __future__ import annotations

from collections.abc import Iterable

from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue
from pipeguard.firewall.protocol.spelling import check_spelling, spellings

# A kind of definition, and the value in place of its name; None where the request has none.
Reference = tuple[str, JsonValue]

# By method, the kind that it uses and the member of params that names it (MCP server/*, "Getting",
# "Calling", "Reading", "Subscriptions"). Unsubscribing uses nothing: it is always allowed.
_NAMED = {
    "tools/call": ("tool", "name"),
    "prompts/get": ("prompt", "name"),
    "resources/read": ("resource", "uri"),
    "resources/subscribe": ("resource", "uri"),
}
_REFERENCE = {"name": "prompt", "uri": "template"}  # members of completion/complete's `ref`
_REFERENCE_MEMBERS = spellings(("type", *_REFERENCE))
_SUBSCRIPTION_MEMBERS = spellings(("resourceSubscriptions",))


def references(method: str, params: JsonObject) -> Iterable[Reference]:
    """The definitions that a request uses, in its order.

    Raises:
        Refusal: a member of a reference differs from a protocol member only in its spelling.
    """
    named = _NAMED.get(method)
    if named is not None:
        kind, key = named
        return ((kind, params.get(key)),)
    if method == "completion/complete":
        return _completion_references(params.get("ref"))
    if method == "subscriptions/listen":
        return _subscription_references(params.get("notifications"))
    return ()


def _completion_references(ref: JsonValue) -> list[Reference]:
    """The prompt that is completed, or the resource, by its template or its address.

    Some servers go by `type` and some by the member, so every member counts.
    """
    if ref is None:
        return [("prompt", None)]
    if not isinstance(ref, dict):
        return [("prompt", [ref])]
    check_spelling(ref, _REFERENCE_MEMBERS, "ref")
    return [(kind, ref[key]) for key, kind in _REFERENCE.items() if key in ref] or [
        ("prompt", None)
    ]


def _subscription_references(wanted: JsonValue) -> list[Reference]:
    """The resources whose updates a client asks for (MCP 2026-07-28, server/utilities)."""
    if not isinstance(wanted, dict):
        return []
    check_spelling(wanted, _SUBSCRIPTION_MEMBERS, "notifications")
    uris = wanted.get("resourceSubscriptions")
    if uris is None:
        return []
    return [("resource", uri) for uri in uris] if isinstance(uris, list) else [("resource", [uris])]
