"""PipeGuard's own words in an answer that failed at a wall. Pure: a value in, a value out.

They name the wall and its event and say who decides. As all that a model reads of PipeGuard they
hold no command, since a model has a shell. What a server chose, a host or a path, is quoted, or
left out where it says something itself.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pipeguard.core.lazy_regex import lazy_regex
from pipeguard.core.unicode.display import cut, visible
from pipeguard.isolation.egress.hosts import PRIVATE
from pipeguard.isolation.walls.wall import ADDRESS, ARGUMENT, PORT, READ, ROOTS, WRITE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipeguard.core.protocol.json_values import JsonObject, JsonValue
    from pipeguard.isolation.walls.wall import Wall

UNNAMED = "what its event names"
MAX_NAMED = 3  # walls in one answer
MAX_SUBJECT_CHARS = 200
MAX_READ_CHARS = 64 * 1024  # of an answer's texts
MAX_FAILURE_CHARS = 2000  # a longer result without `isError` is about something else
_FAILURE = lazy_regex(
    r"(?i)\b(?:error|fail|refused|time(?:d )?-?out|unreachable|unable|cannot|could ?n[o']t"
    r"|no results?|enotfound|eai_|not (?:be )?(?:found|reach|resolve))"
)
_KINDS = {
    READ: "to read {}",
    WRITE: "to change {}",
    PORT: "port {} of this machine",
    ROOTS: "the client's roots, as {}",
}


def texts_of(value: JsonObject) -> str:
    """What an answer says in words: of a result its texts, of an error its message and data."""
    parts, left = [], MAX_READ_CHARS
    for text in _texts(value):
        parts.append(text[:left])
        left -= len(parts[-1])
        if left <= 0:
            break
    return "\n".join(parts)


def is_about_failure(text: str, walls: Sequence[Wall]) -> bool:
    """Whether a result that says nothing of an error tells that something failed."""
    if len(text) > MAX_FAILURE_CHARS:
        return False
    return bool(_FAILURE.search(text)) or any(is_named(wall, text) for wall in walls)


def is_named(wall: Wall, text: str) -> bool:
    """Whether a text has what a wall is about."""
    return (f":{wall.subject}" if wall.rule == PORT else wall.subject) in text


def is_none_allowed(_: Wall) -> bool:
    """For a server whose policy has not changed since it was started."""
    return False


def annotated(
    value: JsonObject,
    walls: Sequence[Wall],
    is_allowed: Callable[[Wall], bool] = is_none_allowed,
) -> JsonObject:
    """An answer with a note on the walls; unchanged where it has no place for one.

    A result gets a text of its own in `content`, an error a sentence in its message. What a schema
    describes, `structuredContent`, stays.

    Args:
        value: of the answer.
        walls: that it failed at.
        is_allowed: whether a wall falls at the server's next start.
    """
    note_text = note_on(walls, is_allowed)
    error, result = value.get("error"), value.get("result")
    if isinstance(error, dict) and isinstance(message := error.get("message"), str):
        return {**value, "error": {**error, "message": f"{message} ({note_text})"}}
    if isinstance(result, dict) and isinstance(content := result.get("content"), list):
        note: JsonValue = {"type": "text", "text": note_text}
        return {**value, "result": {**result, "content": [*content, note]}}
    return value


def note_on(walls: Sequence[Wall], is_allowed: Callable[[Wall], bool] = is_none_allowed) -> str:
    """What a model reads of walls."""
    own = [wall for wall in walls if wall.rule == ARGUMENT]
    waiting = [wall for wall in walls if wall.rule != ARGUMENT and is_allowed(wall)]
    others = [wall for wall in walls if wall.rule != ARGUMENT and wall not in waiting]
    # Why a server has no folder of its own there is said once, in its order, not as two causes.
    roots = [wall for wall in others if own and wall.rule == ROOTS][:1]
    given = [wall for wall in others if not (own and wall.rule == ROOTS)]
    notes = [_not_yet(waiting)] if waiting else []
    notes += [_not_given(given)] if given else []
    return " ".join((*notes, *(_not_among_its_own(wall, roots) for wall in own[:MAX_NAMED])))


def _not_yet(walls: Sequence[Wall]) -> str:
    return (
        f"PipeGuard: the user has allowed this server {', and '.join(_named(walls))}, which holds"
        " once the server is started again. Tell the user that it has to be; do not work around it."
    )


def _named(walls: Sequence[Wall]) -> list[str]:
    named = [f"{_shown(wall)} ({_event(wall)})" for wall in walls[:MAX_NAMED]]
    return [*named, f"{len(walls) - MAX_NAMED} more"] if len(walls) > MAX_NAMED else named


def _not_given(walls: Sequence[Wall]) -> str:
    allowable = sum(wall.event != "" and wall.entry != "" for wall in walls)
    events = "these events" if allowable > 1 else "the event"
    who = f", who alone can allow {events}" if allowable else ", who alone decides about it"
    return (
        f"PipeGuard: this server is isolated, and is not given {', nor '.join(_named(walls))}. If"
        f" that is what was missing, tell the user{who}; do not work around it."
    )


def _not_among_its_own(wall: Wall, roots: Sequence[Wall]) -> str:
    what = _quoted(wall.subject) if wall.is_quotable else UNNAMED
    ungiven = "".join(
        f" It is isolated, and is not given {_shown(root)} ({_event(root)})." for root in roots
    )
    who = (
        "allow that event, or change its arguments"
        if any(root.event for root in roots)
        else "change them"
    )
    return (
        f"PipeGuard: this server itself refuses {what} ({_event(wall)}): it"
        " takes the folders among its own arguments, or the client's roots in their place."
        f"{ungiven} Tell the user, who alone can {who}; do not work around it."
    )


def _shown(wall: Wall) -> str:
    subject = _quoted(wall.subject) if wall.is_quotable else UNNAMED
    if wall.rule == PORT and wall.is_quotable and wall.subject.isdecimal():
        subject = wall.subject
    if wall.rule != ADDRESS:
        is_linked = bool(wall.link) and wall.is_quotable
        said = _KINDS.get(wall.rule, "the host {}").format(subject)
        return f"{said}, where {_quoted(wall.link)} leads" if is_linked else said
    if not wall.entry:
        return f"the local address that the name of its host {subject} leads to"
    is_private = wall.entry.endswith(PRIVATE)
    where = "the private network" if is_private else "the address of this machine"
    return f"{where} that the name of its host {subject} leads to"


def _event(wall: Wall) -> str:
    """The event's name, and what it gives where the wall does not say that."""
    if not wall.event:
        return "without an event: this run has had as many as it may"
    if wall.entry == "":
        return f"event {wall.event}, for which no such address is given"
    entry = wall.entry if wall.rule == ADDRESS and wall.is_quotable else None
    gives = f", for exactly {_quoted(entry)}" if entry else ""
    return f"event {wall.event}{gives}"


def _quoted(text: str) -> str:
    return json.dumps(cut(visible(text), MAX_SUBJECT_CHARS), ensure_ascii=False)


def _texts(value: JsonObject) -> Iterator[str]:
    error, result = value.get("error"), value.get("result")
    if isinstance(error, dict):
        yield from _strings(error.get("message"), error.get("data"))
        data = error.get("data")
        if isinstance(data, dict):
            yield from _strings(*data.values())
    if isinstance(result, dict) and isinstance(content := result.get("content"), list):
        for block in content:
            if isinstance(block, dict) and block.get("type") == "text":
                yield from _strings(block.get("text"))


def _strings(*values: JsonValue) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
