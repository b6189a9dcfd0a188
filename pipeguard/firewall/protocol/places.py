"""Names the places of texts in a message: the one table of the shape of MCP's messages.

A row is a pattern over the path below `params`, `result` or `error` (`*` is one step, `**` the
rest) and the name of the place. The first row that matches wins. A text that no row matches is in
`other` of its part, and is scanned nevertheless. Sources: the MCP schema of the five revisions,
2024-11-05 to 2026-07-28 (schema/<revision>/schema.ts), and the extensions for tasks and skills.
"""

from collections.abc import Sequence
from enum import Enum
from fnmatch import fnmatchcase
from functools import cache, lru_cache

from pipeguard.firewall.finding import MessageKind
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Path

Rows = dict[str, str]  # from patterns to places, in the order in which they are tried


class Surface(Enum):
    """The use of a text: each rule names the surfaces that it applies to."""

    TO_SERVER = "to-server"
    TO_CLIENT = "to-client"
    DEFINITIONS = "definitions"

    __hash__ = object.__hash__  # members are singletons; Enum's own costs a call for each look-up


_CONTENT: Rows = {
    "*/text": "result.text",
    "*/data": "result.data",
    "*/resource/blob": "result.data",
    "*/resource/**": "result.resource",
    "*/_meta/**": "meta",
    "*/content/**": "result.text",
    "*/**": "result.link",
}
_DEFINITION: Rows = {
    "name": "{}.name",
    "uri": "{}.name",
    "uriTemplate": "{}.name",
    "title": "{}.title",
    "description": "{}.description",
    "inputSchema/**": "{}.schema",
    "arguments/**": "{}.schema",
    "outputSchema/**": "{}.output-schema",
    "annotations/**": "{}.annotations",
    "icons/**": "{}.icon",
    "_meta/**": "{}.meta",
    "**": "{}.other",
}
_SKILL: Rows = {
    "frontmatter/name": "{}.name",
    "frontmatter/description": "{}.description",
    **_DEFINITION,
}
_SAMPLING: Rows = {"systemPrompt": "sampling.system", "**": "sampling.message"}
_ELICITATION: Rows = {
    "message": "elicitation.message",
    "requestedSchema/**": "elicitation.schema",
    "**": "elicitation.message",
}


def _under(prefix: str, rows: Rows, kind: str = "") -> Rows:
    return {f"{prefix}/{pattern}": name.format(kind) for pattern, name in rows.items()}


# By part, which is `params` or `result`, and by the method of the request.
PLACES: dict[str, dict[str, Rows]] = {
    "params": {
        "initialize": {"clientInfo/**": "client.info"},
        "tools/call": {
            "name": "call.name",
            "arguments/**": "call.arguments",
            "inputResponses/*/content/**": "answer.elicitation",
            "inputResponses/**": "answer.sampling",
        },
        "prompts/get": {
            "name": "call.name",
            "arguments/**": "prompt.arguments",
            "inputResponses/**": "answer.elicitation",
        },
        "resources/read": {
            "uri": "resource.uri",
            "inputResponses/**": "answer.elicitation",
        },
        "resources/directory/read": {"uri": "resource.uri"},
        "resources/subscribe": {"uri": "resource.uri"},
        "resources/unsubscribe": {"uri": "resource.uri"},
        "skills/get": {"uri": "resource.uri"},
        "completion/complete": {
            "ref/**": "params.other",
            "argument/**": "completion.argument",
            "context/**": "completion.argument",
        },
        "subscriptions/listen": {"notifications/**": "params.other"},
        "sampling/createMessage": _SAMPLING,
        "elicitation/create": _ELICITATION,
        "notifications/message": {"**": "log.message"},
        "notifications/progress": {"message": "progress.message"},
        "notifications/cancelled": {"reason": "progress.message"},
        "notifications/tasks/status": {"**": "task.status"},
        "notifications/tasks": {"**": "task.status"},
    },
    "result": {
        "initialize": {
            "instructions": "server.instructions",
            "serverInfo/**": "server.info",
            "capabilities/**": "server.info",
        },
        "server/discover": {
            "instructions": "server.instructions",
            "capabilities/**": "server.info",
            "_meta/**": "server.info",
        },
        "tools/call": {
            **_under("content", _CONTENT),
            "structuredContent/**": "result.structured",
            "inputRequests/*/params/message": "elicitation.message",
            "inputRequests/*/params/requestedSchema/**": "elicitation.schema",
            "inputRequests/**": "sampling.message",
            "task/**": "task.status",
        },
        "tasks/result": {
            **_under("content", _CONTENT),
            "structuredContent/**": "result.structured",
        },
        "prompts/get": {
            "description": "prompt.message",
            "messages/**": "prompt.text",
            "inputRequests/**": "elicitation.message",
        },
        "resources/read": {
            "contents/*/blob": "result.data",
            "contents/**": "result.resource",
            "inputRequests/**": "elicitation.message",
        },
        "completion/complete": {"completion/values/**": "completion.values"},
        "sampling/createMessage": {"**": "answer.sampling"},
        "elicitation/create": {"content/**": "answer.elicitation"},
        "roots/list": {"roots/**": "answer.roots"},
        "tools/list": _under("tools/*", _DEFINITION, "tool"),
        "prompts/list": _under("prompts/*", _DEFINITION, "prompt"),
        "resources/list": _under("resources/*", _DEFINITION, "resource"),
        "resources/templates/list": _under("resourceTemplates/*", _DEFINITION, "template"),
        "resources/directory/read": _under("resources/*", _DEFINITION, "resource"),
        "skills/list": _under("skills/*", _SKILL, "skill"),
        "skills/get": _under("skill", _SKILL, "skill"),
    },
}
# The member that has the content of a message, by the message's kind.
PARTS = {
    MessageKind.REQUEST: "params",
    MessageKind.NOTIFICATION: "params",
    MessageKind.RESULT: "result",
    MessageKind.ERROR: "error",
}
HTTP_HEADER = "http.header"  # not in a message: its part is `headers`
_ERROR: Rows = {"message": "error.message", "data/**": "error.data"}

# Methods whose result is a list of definitions: the list's member, the kind, and its key.
LISTS: dict[str, tuple[str, str, str]] = {
    "tools/list": ("tools", "tool", "name"),
    "prompts/list": ("prompts", "prompt", "name"),
    "resources/list": ("resources", "resource", "uri"),
    "resources/templates/list": ("resourceTemplates", "template", "uriTemplate"),
    "skills/list": ("skills", "skill", "uri"),
}
GET_SKILL = "skills/get"  # its result has one definition
# Methods whose result is the server's description of itself.
OPENINGS = frozenset({"initialize", "server/discover"})


def without_definitions(value: JsonObject, method: str | None) -> JsonObject:
    """An answer to a method without the definitions in it, which are judged one by one."""
    member = "instructions"
    kind: type = str
    if method in LISTS:
        member = LISTS[method][0]
        kind = list
    elif method == GET_SKILL:
        member = "skill"
        kind = dict
    elif method not in OPENINGS:
        return value
    result = value.get("result")
    if not isinstance(result, dict) or not isinstance(result.get(member), kind):
        return value
    return {**value, "result": {key: item for key, item in result.items() if key != member}}


# The schema lists the values of these members. They are between the text blocks of a result, and
# would tear apart a sentence that is split over two of them.
FIXED_VALUE_KEYS = frozenset(
    {"jsonrpc", "type", "mimeType", "role", "audience", "lastModified", "resultType"}
)


def name_place(part: str, method: str | None, path: Path) -> str:
    """Name the place of a text.

    Args:
        part: `params`, `result` or `error`.
        method: of the request, for its answer too.
        path: from the message's root, as ("result", "content", 0, "text").

    Returns:
        The place, as `result.text`, or `meta`, or `other` of its part; `envelope.other` for a
        path outside the part.
    """
    if not path or path[0] != part:
        return "envelope.other"
    if part == "headers":
        return HTTP_HEADER
    steps = path[1:]
    rows = _ERROR if part == "error" else PLACES[part].get(method or "", {})
    for pattern, name in rows.items():
        if _fits(pattern, steps):
            return name
    if steps and steps[0] == "_meta":
        return "meta"
    return f"{part}.other"


ARGUMENTS = ("params", "arguments")  # of a call, in its message (MCP server/tools)


def get_value(value: JsonValue, path: Sequence[str | int]) -> JsonValue:
    """The value at a path, whose steps may be strings as in a JSON pointer; else None."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(str(step))
        elif isinstance(value, list) and str(step).isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def pointer(path: Path) -> str:
    """The JSON pointer (RFC 6901) of a path, with `…` for a key that could be a secret."""
    return "".join(map(pointer_step, path))


def pointer_step(step: str | int) -> str:
    """One step of a pointer. A peer chooses the keys, and pointers go into the audit."""
    if isinstance(step, str) and (len(step) > LONGEST_STEP or _COULD_BE_SECRET.search(step)):
        return f"/{MASKED_STEP}"
    return "/" + str(step).replace("~", "~0").replace("/", "~1")


MASKED_STEP = "…"
LONGEST_STEP = 64  # characters: no person looks for a longer key
# A token; a value after a name, as in `password: …`; a long word in one case; a phrase of words.
_COULD_BE_SECRET = lazy_regex(
    r"(?=\S{0,64}[0-9])(?=\S{0,64}[A-Za-z])\S{12,64}"
    r"|[:=]\s*\S{8}|[A-Z]{16}|[a-z]{20}|(?:\S{1,64}\s+){5}\S"
)


def _fits(pattern: str, steps: Path) -> bool:
    wanted = _split(pattern)
    for index, want in enumerate(wanted):
        if want == "**":
            return True
        if index >= len(steps) or want not in ("*", steps[index]):
            return False
    return len(steps) == len(wanted)


@cache
def _split(pattern: str) -> list[str]:
    return pattern.split("/")


def known_places() -> tuple[str, ...]:
    """The names of all places, sorted."""
    named = {name for part in PLACES.values() for rows in part.values() for name in rows.values()}
    others = {f"{part}.other" for part in ("params", "result", "error", "envelope")}
    return tuple(sorted(named | others | {"error.message", "error.data", "meta", HTTP_HEADER}))


@lru_cache(maxsize=256)
def find_places(glob: str) -> tuple[str, ...]:
    """The places that a glob matches, sorted."""
    return tuple(place for place in known_places() if fnmatchcase(place, glob))
