"""The shape of an answer: the requirements of JSON-RPC and MCP for a result or an error."""

from collections.abc import Iterable
from hashlib import sha256
from itertools import islice
from threading import Lock

from pipeguard.errors import Refusal
from pipeguard.firewall.protocol import codes, ids
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    Number,
    as_object,
    serialise,
)

# Members of results that contain blocks; each block may have a `_meta`.
_LISTS_OF_BLOCKS = ("content", "contents", "messages")
INHERITED = frozenset({"__proto__", "constructor", "prototype"})  # by objects in JavaScript
# Members that later messages depend on, and members that JavaScript objects inherit.
NOTABLE = INHERITED | {"inputRequests", "inputResponses", "requestState"}


def check_answer(value: JsonObject, id_token: str | None) -> None:
    """Refuse an answer that is not well formed.

    Args:
        value: a message with exactly one of `result` and `error`.
        id_token: its id.

    Raises:
        Refusal: `result` is not an object, `error` lacks an integer code or a message
            (JSON-RPC 2.0, section 5.1), or a `_meta` is not an object.
    """
    if not is_well_formed(value):
        rule, why = "protocol.malformed-answer", "the answer is not well formed"
    elif has_bad_meta(value):
        rule, why = "protocol.meta-not-an-object", "_meta must be an object"
    else:
        return
    raise Refusal(rule, why, codes.PEER_BROKE_PROTOCOL, id_token)


def is_well_formed(value: JsonObject) -> bool:
    """True if `result` is an object, or if `error` has an integer code and a message."""
    if "result" in value:
        return isinstance(value["result"], dict)
    error = as_object(value["error"])
    code = error.get("code")
    return (
        isinstance(code, Number)
        and ids.INTEGER.match(code) is not None
        and type(error.get("message")) is str
    )


def has_bad_meta(value: JsonObject) -> bool:
    """True if a `_meta` of a result is neither an object nor null, which some servers send.

    The result's own, its blocks', and its input requests' (MCP 2026-07-28, basic/patterns/mrtr).
    """
    result = as_object(value.get("result"))
    requests = as_object(result.get("inputRequests"))
    bodies = [result, *(as_object(request).get("params") for request in requests.values())]
    for block in _blocks(result):
        bodies += (block, block.get("resource"), block.get("content"))
    for body in bodies:
        if type(body) is dict:
            meta = body.get("_meta")
            if meta is not None and type(meta) is not dict:
                return True
    return False


def creates_task(result: JsonObject) -> bool:
    """True if the work continues as a task (2025-11-25 and extension, basic/utilities/tasks)."""
    return isinstance(result.get("task"), dict) or result.get("resultType") == "task"


def is_ordinary(answer: JsonObject) -> bool:
    """True for a well-formed result without effect on later messages: no opening, no question."""
    result = answer.get("result")
    if type(result) is not dict or not NOTABLE.isdisjoint(result):
        return False
    return NOTABLE.isdisjoint(answer) and not creates_task(result) and not has_bad_meta(answer)


def _blocks(result: JsonObject) -> list[JsonObject]:
    found: list[JsonObject] = []
    for member in _LISTS_OF_BLOCKS:
        blocks = result.get(member)
        if type(blocks) is list:
            found += [block for block in blocks if type(block) is dict]
    return found


# --- input requests ---------------------------------------------------------------------
# Input requests that a server made, to notice an answer without a request.

MAX_REMEMBERED = 1024  # keys of one conversation, and as many states


class InputRequests:
    """The newest input requests of one conversation."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._keys: dict[bytes, None] = {}
        self._states: dict[bytes, None] = {}

    def record(self, body: JsonObject) -> None:
        """Record the input requests of a result or a task (extension, `notifications/tasks`)."""
        requests = body.get("inputRequests")
        state = body.get("requestState")
        keys = reversed(requests) if isinstance(requests, dict) else ()  # of too many, the last
        hashes = [_hash(key) for key in islice(keys, MAX_REMEMBERED)]
        states = [] if state is None else [_hash(state)]
        with self._lock:
            _remember(self._keys, reversed(hashes))
            _remember(self._states, states)

    def cover(self, params: JsonObject) -> bool:
        """True if all that a request answers was asked for, and its state was given out."""
        responses = params.get("inputResponses")
        state = params.get("requestState")
        if state is not None and _hash(state) not in self._states:
            return False
        return not isinstance(responses, dict) or all(_hash(key) in self._keys for key in responses)


def _remember(remembered: dict[bytes, None], hashes: Iterable[bytes]) -> None:
    for digest in hashes:
        while len(remembered) >= MAX_REMEMBERED:
            del remembered[next(iter(remembered))]
        remembered[digest] = None


def _hash(value: JsonValue) -> bytes:
    return sha256(serialise(value)).digest()
