"""What of a server's definitions a request would use: tools, prompts, resources. Judges none."""

from __future__ import annotations

from collections.abc import Iterable

from pipeguard.core.protocol import codes
from pipeguard.core.protocol.json_values import JsonObject, JsonValue
from pipeguard.errors import Refusal

Used = tuple[str, JsonValue]  # the kind, and what stands where its name belongs; None for nothing

# Of each method, what it uses and which member of params names it (MCP server/*, "Getting",
# "Calling", "Reading", "Subscriptions"). To unsubscribe uses nothing: it may always be ended.
_NAMED = {
    "tools/call": ("tool", "name"),
    "prompts/get": ("prompt", "name"),
    "resources/read": ("resource", "uri"),
    "resources/subscribe": ("resource", "uri"),
}
_REFERENCE = {"name": "prompt", "uri": "template"}  # of completion/complete, by what it names


def used(method: str, params: JsonObject) -> Iterable[Used]:
    """What a request uses, in its order; nothing for a method that uses no definition.

    Raises:
        Refusal: a member is one that peers may read, in another spelling.
    """
    named = _NAMED.get(method)
    if named is not None:
        kind, key = named
        return ((kind, params.get(key)),)
    if method == "completion/complete":
        return _completed(params.get("ref"))
    if method == "subscriptions/listen":
        return _listened(params.get("notifications"))
    return ()


def _completed(ref: JsonValue) -> list[Used]:
    """What is completed: a prompt, or a resource by its template or its address.

    Servers go by the type or by the member, so that each member that there is counts.
    """
    if ref is None:
        return [("prompt", None)]
    if not isinstance(ref, dict):
        return [("prompt", [ref])]
    _check(ref, {"type", *_REFERENCE})
    return [(kind, ref[key]) for key, kind in _REFERENCE.items() if key in ref] or [
        ("prompt", None)
    ]


def _listened(wanted: JsonValue) -> list[Used]:
    """The resources that a client wants to hear of (MCP 2026-07-28, server/utilities)."""
    if not isinstance(wanted, dict):
        return []
    _check(wanted, {"resourceSubscriptions"})
    uris = wanted.get("resourceSubscriptions")
    if uris is None:
        return []
    return [("resource", uri) for uri in uris] if isinstance(uris, list) else [("resource", [uris])]


def _check(value: JsonObject, read: set[str]) -> None:
    spelt = {key.casefold(): key for key in read}
    if any(spelt.get(key.casefold(), key) != key for key in value):
        raise Refusal(
            "protocol.key-look-alike",
            "a member of params differs from one of the protocol in case only",
            codes.INVALID_REQUEST,
        )
