"""Ids and tokens of progress in frames, under which they travel on a channel that many share."""

from __future__ import annotations

from pipeguard.core.protocol.ids import id_of, id_token_of, request_ids
from pipeguard.core.protocol.json_values import JsonObject, JsonValue, serialise
from pipeguard.core.protocol.subscriptions import SUBSCRIPTION_META


def under(value: JsonValue, ticket: str, token: str) -> JsonValue:
    """An answer to a ticket, with the id for which it stands."""
    if ticket == token or not isinstance(value, dict):
        return value
    changed: JsonObject = {**value, "id": id_of(token)}
    result = value.get("result")
    meta = result.get("_meta") if isinstance(result, dict) else None
    named = id_token_of(meta.get(SUBSCRIPTION_META)) if isinstance(meta, dict) else None
    if isinstance(result, dict) and isinstance(meta, dict) and named == ticket:
        changed["result"] = {**result, "_meta": {**meta, SUBSCRIPTION_META: id_of(token)}}
    return changed


def renamed(frame: bytes, value: JsonValue, tickets: list[str], progress: list[str]) -> bytes:
    """What asks, under the ids and the tokens of progress that go up, in their order."""
    if tickets == request_ids(value) and progress == progress_in(value):
        return frame
    ids, tokens = iter(tickets), iter(progress)

    def member_renamed(member: JsonValue) -> JsonValue:
        if not isinstance(member, dict):
            return member
        changed = dict(member)
        if request_ids(member):
            changed["id"] = id_of(next(ids))
        params = member.get("params")
        meta = params.get("_meta") if isinstance(params, dict) else None
        if progress_in(member) and isinstance(params, dict) and isinstance(meta, dict):
            told: JsonObject = {**meta, "progressToken": id_of(next(tokens))}
            changed["params"] = {**params, "_meta": told}
        return changed

    members = value if isinstance(value, list) else [value]
    done = [member_renamed(member) for member in members]
    return serialise(done if isinstance(value, list) else done[0])


def progress_in(value: JsonValue) -> list[str]:
    """The tokens by which requests want to be told of their progress."""
    found = []
    for member in value if isinstance(value, list) else [value]:
        params = member.get("params") if isinstance(member, dict) and "id" in member else None
        meta = params.get("_meta") if isinstance(params, dict) else None
        token = id_token_of(meta.get("progressToken")) if isinstance(meta, dict) else None
        if token is not None:
            found.append(token)
    return found
