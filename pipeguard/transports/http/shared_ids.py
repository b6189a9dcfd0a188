"""Rewrites ids, progress tokens and subscription ids for a channel that several clients share.

Two clients may use the same id, so a message travels under an id of ours where necessary, and is
passed on under the client's. Ids are tokens, as `core.protocol.ids` writes them.
"""

from __future__ import annotations

from pipeguard.core.protocol.ids import id_of, id_token_of, request_ids
from pipeguard.core.protocol.json_values import JsonObject, JsonValue, serialise
from pipeguard.core.protocol.subscriptions import SUBSCRIPTION_META

CANCELLED = "notifications/cancelled"
RELATED_TASK = "io.modelcontextprotocol/related-task"  # MCP 2025-11-25, basic/utilities/tasks


# --- requests -----------------------------------------------------------------------------


def with_request_ids(
    frame: bytes, value: JsonValue, ids: list[str], progress_tokens: list[str]
) -> bytes:
    """A message or batch with other ids and progress tokens, in their order.

    Args:
        frame: returned as it is where nothing changes.
        value: of the frame.
        ids: as many as `request_ids` finds.
        progress_tokens: as many as `progress_tokens_in` finds.
    """
    if ids == request_ids(value) and progress_tokens == progress_tokens_in(value):
        return frame
    next_ids, next_tokens = iter(ids), iter(progress_tokens)

    def changed(member: JsonValue) -> JsonValue:
        if not isinstance(member, dict):
            return member
        copied = dict(member)
        if request_ids(member):
            copied["id"] = id_of(next(next_ids))
        params = member.get("params")
        meta = _meta(params)
        if progress_tokens_in(member) and isinstance(params, dict) and meta is not None:
            own: JsonObject = {**meta, "progressToken": id_of(next(next_tokens))}
            copied["params"] = {**params, "_meta": own}
        return copied

    members = value if isinstance(value, list) else [value]
    copies = [changed(member) for member in members]
    return serialise(copies if isinstance(value, list) else copies[0])


def progress_tokens_in(value: JsonValue) -> list[str]:
    """The progress tokens of the requests in a message or a batch."""
    tokens = []
    for member in value if isinstance(value, list) else [value]:
        params = member.get("params") if isinstance(member, dict) and "id" in member else None
        token = id_token_of((_meta(params) or {}).get("progressToken"))
        if token is not None:
            tokens.append(token)
    return tokens


def is_cancellation(value: JsonValue) -> bool:
    """True for a notification that cancels a request."""
    return isinstance(value, dict) and value.get("method") == CANCELLED


def cancelled_id(value: JsonValue) -> str | None:
    """The id of the request that a message cancels; None where it cancels none."""
    params = value.get("params") if isinstance(value, dict) else None
    if not is_cancellation(value) or not isinstance(params, dict):
        return None
    return id_token_of(params.get("requestId"))


def with_cancelled_id(value: JsonObject, id_token: str) -> JsonObject:
    """A cancellation with another request id."""
    return _with_param(value, "requestId", id_of(id_token))


# --- what a server sends --------------------------------------------------------------------


def answered_id(value: JsonValue) -> str | None:
    """The id of the request that a message answers; None where it is no answer."""
    if isinstance(value, dict) and "method" not in value:
        return id_token_of(value.get("id"))
    return None


def with_answered_id(value: JsonValue, sent_id: str, client_id: str) -> JsonValue:
    """An answer with the client's id, which may stand as a subscription id in it as well."""
    if sent_id == client_id or not isinstance(value, dict):
        return value
    changed: JsonObject = {**value, "id": id_of(client_id)}
    result = value.get("result")
    meta = _meta(result)
    if isinstance(result, dict) and meta is not None and _subscription(meta) == sent_id:
        changed["result"] = {**result, "_meta": {**meta, SUBSCRIPTION_META: id_of(client_id)}}
    return changed


def progress_token_of(value: JsonObject) -> str | None:
    """The token by which a server reports progress, or None."""
    params = value.get("params")
    return id_token_of(params.get("progressToken")) if isinstance(params, dict) else None


def with_progress_token(value: JsonObject, token: str) -> JsonObject:
    """A report of progress with another token."""
    return _with_param(value, "progressToken", id_of(token))


def subscription_id_of(value: JsonObject) -> str | None:
    """The id of the request that subscribed to a notification (MCP 2026-07-28), or None."""
    meta = _meta(value.get("params"))
    return None if meta is None else _subscription(meta)


def with_subscription_id(value: JsonObject, id_token: str) -> JsonObject:
    """A notification with another subscription id."""
    meta = _meta(value.get("params")) or {}
    return _with_param(value, "_meta", {**meta, SUBSCRIPTION_META: id_of(id_token)})


def related_task_of(value: JsonObject) -> JsonValue:
    """The id of the task that a message is about; None where it is about none."""
    related = (_meta(value.get("params")) or {}).get(RELATED_TASK)
    return related.get("taskId") if isinstance(related, dict) else None


def _subscription(meta: JsonObject) -> str | None:
    return id_token_of(meta.get(SUBSCRIPTION_META))


def _meta(body: JsonValue) -> JsonObject | None:
    """The `_meta` of params or of a result."""
    meta = body.get("_meta") if isinstance(body, dict) else None
    return meta if isinstance(meta, dict) else None


def _with_param(value: JsonObject, name: str, param: JsonValue) -> JsonObject:
    params = value.get("params")
    return {**value, "params": {**(params if isinstance(params, dict) else {}), name: param}}
