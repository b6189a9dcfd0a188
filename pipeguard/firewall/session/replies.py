"""Texts for each side when a message is stopped. Only this module writes them.

The client is told rule, place and event, never the text itself, and that the user decides. A text
for a model contains no command, because a model has a shell: commands are in the log and in
`pipeguard explain`. The exception is a call that would write a line of PipeGuard's into a file.
A server is told only the event: rule and place would help an attacker.
"""

from pipeguard.errors import Refusal
from pipeguard.firewall.finding import (
    TO_CLIENT,
    TO_SERVER,
    Action,
    Direction,
    Finding,
)
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.policy import ORDERED
from pipeguard.firewall.protocol import codes, methods, strict_json
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    Number,
    read_object,
    serialise,
)
from pipeguard.firewall.session.remedies import LOST, Way, find_way

MARK = "pipeguard"  # in `data.source` and in `_meta`: only PipeGuard may use it
STATE = f"{MARK}-"  # begins each `requestState` of ours; the run's name follows
REFUSED = "The user looked at it and refused it."  # to the model, of a call that waited
REFUSED_WAIT = "the user refused it"  # in the audit
FOREIGN_PLACEHOLDER = "secrets.foreign-placeholder"  # detect.findings reports it
CUT_LINE = "commands.cut-line"  # a call has a line of PipeGuard whose passage is not known
_EVENT_OF_LINE = lazy_regex(r"event\W{1,8}(\w{1,40}\.\w{1,20})")
# Rules whose findings explain themselves, to a model too.
_SELF_EXPLAINING = (
    "audit.outage",
    "trust.drifted",
    "trust.held",
    "trust.left-out",
    "trust.not-offered",
    "trust.full",
    "trust.wrong-digest",
    "policy.tool",
    FOREIGN_PLACEHOLDER,
)
# Tells a model who can let it pass. No command: a model has a shell.
_WHO_DECIDES = {
    Way.EXCEPTION: "Only the user decides whether it is a false alarm.",
    Way.GRANT: "Only the user can give it.",
    Way.APPROVE: "Only the user can approve it.",
    Way.POLICY: "Only the user can change the policy that stops it.",
    Way.OPTION: "Only the user can change the options that stop it.",
    Way.NOTHING: "Nobody can allow it.",
}


def refusal_to_client(  # noqa: PLR0913  a refusal has as many parts
    method: str | None,
    id_token: str,
    code: int,
    *,
    finding: Finding,
    event: str,
    executed: bool,
    wait_outcome: str = "",
    typed: bool = False,
) -> bytes:
    """The answer to a client's request that was refused, or whose answer was.

    A tool call gets a result with `isError`, so that the model reads why and can continue; any
    other request gets a JSON-RPC error (MCP server/tools, "Error Handling").

    Args:
        method: of the request.
        id_token: of the request, as it is written in the frame.
        code: of the error, from firewall.protocol.codes.
        finding: the most serious one.
        event: names the verdict.
        executed: True if the server had already acted.
        wait_outcome: the outcome of its wait for a person, as a sentence; empty without a wait.
        typed: True if a result states its type (MCP 2026-07-28 basic/index).
    """
    data = _data(finding, event, executed=executed)
    if method == "tools/call" and code in (codes.BLOCKED, codes.APPROVAL, codes.UNSCANNABLE):
        text = words(finding, event, executed=executed, wait_outcome=wait_outcome)
        result: JsonObject = {
            "content": [{"type": "text", "text": text}],
            "isError": True,
            "_meta": {MARK: data},
        }
        if typed:
            result["resultType"] = "complete"
        return make_result(id_token, result)
    return error(id_token, code, sentence(method, finding, executed=executed), data)


def make_result(id_token: str, result: JsonObject) -> bytes:
    """The answer to a request with a result of PipeGuard's own."""
    return _frame(id_token, b'"result":' + serialise(result))


def add_note(value: JsonObject, text: str) -> JsonObject:
    """Add a note to an answer: a block of a result's content, or a sentence of an error."""
    error = read_object(value, "error")
    message = error.get("message")
    if isinstance(message, str):
        return {**value, "error": {**error, "message": f"{message} ({text})"}}
    result = read_object(value, "result")
    content = result.get("content")
    if isinstance(content, list):
        note: JsonValue = {"type": "text", "text": text}
        return {**value, "result": {**result, "content": [*content, note]}}
    return value


def refusal_to_server(method: str | None, id_token: str, code: int, event: str) -> bytes:
    """The answer to a server's request that was refused, or whose answer was."""
    if method == "elicitation/create" and code == codes.BLOCKED:
        return _frame(id_token, b'"result":{"action":"decline"}')
    data: JsonObject = {"source": MARK, "event": event}
    if method == "sampling/createMessage" and code == codes.BLOCKED:
        return error(id_token, codes.USER_REJECTED, "The request was rejected", data)
    return error(id_token, code, "The request was refused", data)


def error(id_token: str | None, code: int, message: str, data: JsonObject | None = None) -> bytes:
    """A JSON-RPC error (section 5.1); without an id if none could be read."""
    body: JsonObject = {"code": Number(code), "message": message}
    if data is not None:
        body["data"] = data
    return _frame(id_token, b'"error":' + serialise(body))


MAY_HAVE_ACTED = "the call may have taken effect before that"  # the answer to one was lost


def own_error(id_token: str, code: int, message: str) -> bytes:
    """A JSON-RPC error that says it is PipeGuard's."""
    return error(id_token, code, message, {"source": MARK})


def make_cancellation(id_token: str, why: str) -> bytes:
    """A notification that cancels a request (basic/utilities/cancellation)."""
    params: JsonObject = {"requestId": Number(id_token), "reason": why}  # written as it is
    return serialise({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})


_AUDIT_LOSS = (
    "PipeGuard could not record all messages: rows of its audit are lost, for instance because the"
    " disk is full. Messages are still judged. Its own log says why."
)


def make_notice(text: str = _AUDIT_LOSS) -> JsonObject:
    """A notification with which a client informs its user (MCP server/utilities/logging)."""
    params: JsonObject = {"level": "error", "logger": MARK, "data": text}
    return {"jsonrpc": "2.0", "method": methods.LOG_MESSAGE, "params": params}


def list_changed(kind: str, subscription: str | None = None) -> bytes:
    """A notification that a list changed (MCP server/tools, "List Changed Notification").

    Args:
        kind: `tools`, `prompts` or `resources`.
        subscription: the id of the request that subscribed to it, as it is written in its frame.
    """
    notice: JsonObject = {"jsonrpc": "2.0", "method": f"notifications/{kind}/list_changed"}
    if subscription is not None:
        notice["params"] = {"_meta": {methods.SUBSCRIPTION_META: Number(subscription)}}  # as it is
    return serialise(notice)


def set_id(body: bytes, waiting: list[str]) -> bytes | None:
    """An answer as a frame; one without an id gets the id of the only waiting request.

    A server that cannot know the id, as for an unknown session, sends none.

    Args:
        body: an HTTP body that answers a request.
        waiting: the ids of the requests that wait for it.

    Returns:
        None if the body is not an answer.
    """
    try:
        value = strict_json.parse_json(body)
    except Refusal:
        return body if body.lstrip()[:1] in (b"{", b"[") else None  # the Session refuses it
    if isinstance(value, list):
        return body
    if not isinstance(value, dict) or "jsonrpc" not in value:
        return None
    if value.get("id") is not None or "error" not in value or len(waiting) != 1:
        return body
    return serialise({**value, "id": Number(waiting[0])})  # a Number is written as it is


def is_refusal(result: JsonObject) -> bool:
    """True for a result that PipeGuard gave, and not the server."""
    return "rule" in read_object(read_object(result, "_meta"), MARK)


def words(finding: Finding, event: str, *, executed: bool, wait_outcome: str = "") -> str:
    """The text for a model instead of a result: the item stopped, the reason, the next step."""
    if finding.rule in _SELF_EXPLAINING:
        who = "" if finding.note.startswith("PipeGuard") else "PipeGuard: "
        return f"{who}{finding.note} (event {event})"
    if wait_outcome == REFUSED:
        return (
            f"PipeGuard stopped this call before the server saw it: rule {finding.rule} matched"
            f" ({finding.place}). {REFUSED} Do not repeat it, and do not try the same in another"
            f" form; go on without it (event {event})."
        )
    if executed:
        what = f"The tool ran, but PipeGuard withheld its result: rule {finding.rule} matched in it"
    elif finding.rule == ORDERED and finding.note:
        return (
            f"PipeGuard stopped this call before the server saw it: {finding.note}. Do not try the"
            f" same in another form. Tell the user what the text asks for, and of event {event}"
            f" (rule {ORDERED}). Only the user can allow the call; then repeat it unchanged."
        )
    elif finding.rule == CUT_LINE:
        cut = _EVENT_OF_LINE.search(finding.excerpt)
        return (
            "PipeGuard stopped this call before the server saw it: it has a line of PipeGuard in"
            " place of text that cannot be put back here. Read the file again, or have the user"
            f" run `pipeguard allow {cut[1] if cut else 'EVENT'}` first, so that the text is not"
            f" cut out again (event {event})"
        )
    else:
        what = f"PipeGuard stopped this call before the server saw it: rule {finding.rule} matched"
    wait = f" {wait_outcome}" if wait_outcome else ""
    return (
        f"{what} ({finding.place}).{wait} Do not try to get the same through in another form;"
        f" go on without it, and tell the user of event {event}."
        f" {_WHO_DECIDES[find_way(finding.rule)]}"
    )


def sentence(method: str | None, finding: Finding, *, executed: bool) -> str:
    """The message of an error: one sentence, without any text of the frame."""
    if finding.note and finding.rule.startswith(("trust.", "protocol.", "policy.", "flows.")):
        happened = what_happened(finding.note)
        is_unsure = executed and method == "tools/call" and finding.rule == LOST
        who = "" if happened.startswith("PipeGuard") else "PipeGuard: "
        return f"{who}{happened}{f'; {MAY_HAVE_ACTED}' if is_unsure else ''}"
    what = f"{method or 'message'}{' result' if executed else ''}"
    return f"PipeGuard blocked {what}: {finding.rule} in {finding.place}"


def what_happened(message: str) -> str:
    """The first line of a message for people; the commands are on the lines after it."""
    happened, line_end, _ = message.partition("\n")
    if not line_end:
        return happened
    return f"{happened.rstrip(':.')}. PipeGuard's log tells the user what to do."


def mark_changed(
    value: JsonObject, direction: Direction, event: str, *, is_cut: bool = False
) -> JsonObject:
    """A redacted message, marked as such in its `_meta`; unchanged if it cannot have one."""
    member = "params" if "method" in value else "result"
    body = value.get(member)
    meta = body.get("_meta", {}) if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(meta, dict):
        return value
    data: JsonObject = {"source": MARK, "event": event}
    if direction is TO_CLIENT:
        data["verdict"] = "cut" if is_cut else "redact"
    return {**value, member: {**body, "_meta": {**meta, MARK: data}}}


def without_forgery(value: JsonObject) -> JsonObject:
    """A peer's answer without PipeGuard's error code and mark; the same object without either."""
    error = value.get("error")
    if isinstance(error, dict):
        changed = dict(error)
        code = error.get("code")
        data = read_object(error, "data")
        if isinstance(code, Number) and str(code) in _OUR_CODES:
            changed["code"] = Number(codes.INTERNAL_ERROR)
        if data.get("source") == MARK:
            changed["data"] = {key: item for key, item in data.items() if key != "source"}
        return value if changed == error else {**value, "error": changed}
    result = read_object(value, "result")
    meta = read_object(result, "_meta")
    if MARK not in meta:
        return value
    others: JsonValue = {key: item for key, item in meta.items() if key != MARK}
    return {**value, "result": {**result, "_meta": others}}


_OUR_CODES = frozenset(str(code) for code in codes.OURS)


def _data(finding: Finding, event: str, *, executed: bool) -> JsonObject:
    how = (
        f"Nobody can allow it; event {event} tells why."
        if find_way(finding.rule) is Way.NOTHING
        else f"Only the user can allow it: tell them of event {event}."
    )
    is_lost = finding.action is Action.WARN
    data: JsonObject = {
        "source": MARK,
        "event": event,
        "verdict": "warn" if is_lost else "block",
        "rule": finding.rule,
        "place": finding.place,
        "direction": (TO_CLIENT if executed else TO_SERVER).value,
        "executed": executed,
        "how_to_allow": f"Nothing was blocked; event {event} tells more." if is_lost else how,
    }
    # A name that matched a rule may itself be the secret.
    if finding.tool is not None and (finding.place != "call.name" or finding.note):
        data["tool"] = finding.tool
    return data


def how_to_allow(finding: Finding, event: str) -> str:
    """The command for a person to run next. It goes to the log, and never to a model.

    Args:
        finding: why the message was stopped.
        event: names the verdict; empty if no audit has it.

    Returns:
        The command; empty if it cannot be allowed.
    """
    way = find_way(finding.rule)
    if way is Way.APPROVE:
        return finding.excerpt or "pipeguard diff"
    if way in {Way.NOTHING, Way.OPTION}:
        return ""
    if not event:
        return f"pipeguard explain {finding.rule}"
    return f"pipeguard {'explain' if way is Way.POLICY else 'allow'} {event}"


def _frame(id_token: str | None, member: bytes) -> bytes:
    id_member = b"" if id_token is None else b'"id":' + id_token.encode() + b","
    return b'{"jsonrpc":"2.0",' + id_member + member + b"}"
