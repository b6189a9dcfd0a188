"""What each side is told when something does not pass. The only module that knows.

Towards the client: rule, place and event, never the text itself; and that the user decides. What
a model reads holds no command, since a model has a shell. Those stand in the log and in `explain`.
Towards a server only the event: rule and place would tell an attacker what to change.
"""

from __future__ import annotations

from pipeguard.core.finding import Direction, Finding
from pipeguard.core.protocol import codes
from pipeguard.core.protocol.json_values import JsonObject, JsonValue, Number, serialise
from pipeguard.core.protocol.strict_json import parse_json
from pipeguard.core.protocol.subscriptions import SUBSCRIPTION_META
from pipeguard.errors import Refusal

MARK = "pipeguard"  # in `data.source` and in `_meta`: only we may use it
_VERBS = {
    "tools/call": "call",
    "prompts/get": "prompt",
    "resources/read": "resource",
}


FOREIGN_PLACEHOLDER = "secrets.foreign-placeholder"  # core.session.secret_restore raises it


def refusal_to_client(  # noqa: PLR0913  a refusal has as many parts
    method: str | None,
    id_token: str,
    code: int,
    finding: Finding,
    event: str,
    *,
    executed: bool,
    typed: bool = False,
) -> bytes:
    """The answer to a client's request that did not pass, or whose answer did not.

    A tool call gets a result with `isError`, so that the model reads why and can go on; any
    other request gets a JSON-RPC error (MCP server/tools, "Error Handling").

    Args:
        method: of the request.
        id_token: of the request, as it stood in the frame.
        code: of the error, from core.protocol.codes.
        finding: the most serious one.
        event: names the verdict.
        executed: True where the server had already acted.
        typed: True where a result says of which type it is (MCP 2026-07-28 basic/index).
    """
    data = _data(finding, event, executed=executed)
    if method == "tools/call" and code in (codes.BLOCKED, codes.APPROVAL, codes.UNSCANNABLE):
        result: JsonObject = {
            "content": [{"type": "text", "text": words(finding, event, executed=executed)}],
            "isError": True,
            "_meta": {MARK: data},
        }
        if typed:
            result["resultType"] = "complete"
        return _frame(id_token, b'"result":' + serialise(result))
    return error(id_token, code, sentence(method, finding, executed=executed), data)


def refusal_to_server(method: str | None, id_token: str, code: int, event: str) -> bytes:
    """The answer to a server's request that did not pass, or whose answer did not."""
    if method == "elicitation/create" and code == codes.BLOCKED:
        return _frame(id_token, b'"result":{"action":"decline"}')
    data: JsonObject = {"source": MARK, "event": event}
    if method == "sampling/createMessage" and code == codes.BLOCKED:
        return error(id_token, codes.USER_REJECTED, "The request was rejected", data)
    return error(id_token, code, "The request did not pass", data)


def error(id_token: str | None, code: int, message: str, data: JsonObject | None = None) -> bytes:
    """A JSON-RPC error (section 5.1); without an id where none could be read."""
    body: JsonObject = {"code": Number(code), "message": message}
    if data is not None:
        body["data"] = data
    return _frame(id_token, b'"error":' + serialise(body))


def cancelled(id_token: str, why: str = "the server is gone") -> bytes:
    """Tells a side that a request which it has open needs no answer any more."""
    return (
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":'
        + id_token.encode()
        + b',"reason":"'
        + why.encode()
        + b'"}}'
    )


def list_changed(kind: str, subscription: str | None = None) -> bytes:
    """Tells the client to ask for a list again (MCP server/tools, "List Changed").

    Args:
        kind: `tools`, `prompts` or `resources`.
        subscription: the id of the request that asked to be told, as it stood in its frame.
    """
    told = b'{"jsonrpc":"2.0","method":"notifications/' + kind.encode() + b'/list_changed"'
    if subscription is not None:
        meta = f'{{"{SUBSCRIPTION_META}":{subscription}}}'
        told += b',"params":{"_meta":' + meta.encode() + b"}"
    return told + b"}"


def addressed(body: bytes, waiting: list[str]) -> bytes | None:
    """An answer as a frame; one without an id gets that of the request that it answers.

    A server that cannot tell the id, as with a session that it does not know, gives none.
    """
    try:
        value = parse_json(body)
    except Refusal:
        return body if body.lstrip()[:1] in (b"{", b"[") else None  # the Session says why
    if isinstance(value, list):
        return body
    if not isinstance(value, dict) or "jsonrpc" not in value:
        return None
    if value.get("id") is not None or "error" not in value or len(waiting) != 1:
        return body
    return serialise({**value, "id": Number(waiting[0])})  # of the same reading: it was strict


def words(finding: Finding, event: str, *, executed: bool) -> str:
    """What a model reads in place of a result: what was stopped, why, and what to do."""
    if finding.rule in ("trust.drifted", "trust.held", "policy.tool", FOREIGN_PLACEHOLDER):
        return f"{finding.note} (event {event})"
    if executed:
        what = f"The tool ran, but PipeGuard withheld its result: rule {finding.rule} matched in it"
    else:
        what = f"PipeGuard stopped this call before the server saw it: rule {finding.rule} matched"
    return (
        f"{what} ({finding.place}). Do not try to get the same through in another form;"
        f" go on without it, and tell the user of event {event}. Only the user decides whether it"
        " is a false alarm."
    )


def sentence(method: str | None, finding: Finding, *, executed: bool) -> str:
    """One sentence for an error's message, without any of the text that was seen."""
    if finding.note and finding.rule.startswith(("trust.", "protocol.", "policy.", "flows.")):
        return f"PipeGuard: {what_happened(finding.note)}"
    what = f"{method or 'message'}{' result' if executed else ''}"
    return f"PipeGuard blocked {what}: {finding.rule} in {finding.place}"


def what_happened(message: str) -> str:
    """A message for people without what to do: the commands stand on lines of their own."""
    happened, line_end, _ = message.partition("\n")
    return f"{happened} The user finds in PipeGuard's log what to do." if line_end else happened


def marked(value: JsonObject, direction: Direction, event: str) -> JsonObject:
    """A message that was redacted, with a word of that in its `_meta` where it has one."""
    member = "params" if "method" in value else "result"
    body = value.get(member)
    meta = body.get("_meta", {}) if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(meta, dict):
        return value
    data: JsonObject = {"source": MARK, "event": event}
    if direction is Direction.TO_CLIENT:
        data["verdict"] = "redact"
    return {**value, member: {**body, "_meta": {**meta, MARK: data}}}


def is_forged(value: JsonObject) -> bool:
    """True where a peer's message passes itself off as ours."""
    body = value.get("error")
    if isinstance(body, dict):
        code, data = body.get("code"), body.get("data")
        if _is_ours(code):
            return True
        return isinstance(data, dict) and data.get("source") == MARK
    result = value.get("result")
    meta = result.get("_meta") if isinstance(result, dict) else None
    return isinstance(meta, dict) and MARK in meta


def without_forgery(value: JsonObject) -> JsonObject:
    """The message with our code and our mark taken out."""
    clean = dict(value)
    body, result = value.get("error"), value.get("result")
    if isinstance(body, dict):
        changed = dict(body)
        if _is_ours(changed.get("code")):
            changed["code"] = Number(codes.INTERNAL_ERROR)
        data = changed.get("data")
        if isinstance(data, dict) and data.get("source") == MARK:
            changed["data"] = {key: item for key, item in data.items() if key != "source"}
        clean["error"] = changed
    if isinstance(result, dict) and isinstance(meta := result.get("_meta"), dict):
        kept: JsonValue = {key: item for key, item in meta.items() if key != MARK}
        clean["result"] = {**result, "_meta": kept}
    return clean


_OUR_CODES = frozenset(str(code) for code in codes.OURS)


def _is_ours(code: JsonValue) -> bool:
    return isinstance(code, Number) and str(code) in _OUR_CODES


def _data(finding: Finding, event: str, *, executed: bool) -> JsonObject:
    data: JsonObject = {
        "source": MARK,
        "event": event,
        "verdict": "block",
        "rule": finding.rule,
        "place": finding.place,
        "direction": (Direction.TO_CLIENT if executed else Direction.TO_SERVER).value,
        "executed": executed,
        "how_to_allow": f"The user decides, and finds what to do under event {event}.",
    }
    # Where the name itself is what was found, it may be the secret.
    if finding.tool is not None and (finding.place != "call.name" or finding.note):
        data["tool"] = finding.tool
    return data


def how_to_allow(finding: Finding, event: str) -> str:
    """The exact command that a person would run; for the log, and for no model to read."""
    if finding.rule.startswith("trust."):
        return finding.excerpt or "pipeguard diff"
    if finding.rule.startswith(("protocol.", "entrance.")):
        return f"pipeguard explain {finding.rule}"
    return f"pipeguard allow {event}"


def _frame(id_token: str | None, member: bytes) -> bytes:
    id_member = b"" if id_token is None else b'"id":' + id_token.encode() + b","
    return b'{"jsonrpc":"2.0",' + id_member + member + b"}"
