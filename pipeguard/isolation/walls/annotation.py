"""PipeGuard's own words in an answer that failed at a wall. Pure: a value in, a value out.

They name the wall and its event and say who decides. As all that a model reads of PipeGuard they
hold no command, since a model has a shell. A file is named by the answer alone, and a host that
reads as a sentence by its event alone: a server is not to speak in our voice.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.isolation.egress.hosts import PRIVATE
from pipeguard.isolation.walls.wall import ADDRESS, PORT, READ, WRITE
from pipeguard.unicode.display import cut, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeguard.firewall.protocol.json_values import JsonObject
    from pipeguard.isolation.walls.wall import Wall

MAX_NAMED = 3  # walls in one answer
MAX_SUBJECT_CHARS = 200
MAX_WORDS = 6  # of a host; more of them are a sentence
UNNAMED = "that its event names"
MAX_FAILURE_CHARS = 2000  # a longer result without `isError` is about something else
_FAILURE = lazy_regex(
    r"(?i)\b(?:error|fail|refused|time(?:d )?-?out|unreachable|unable|cannot|could ?n[o']t"
    r"|no results?|enotfound|eai_|not (?:be )?(?:found|reach|resolve))"
)
_WORD = lazy_regex(r"[^\W\d_]{2,}")
_FILES = {READ: "to read the file that it names", WRITE: "to change the file that it names"}


def iterate_texts(answer: JsonObject) -> Iterator[tuple[str, str]]:
    """Yield the texts of an answer, each with its pointer."""
    error, result = answer.get("error"), answer.get("result")
    if isinstance(error, dict):
        data = error.get("data")
        fields = data.items() if isinstance(data, dict) else [("", data)]
        found = [("/error/message", error.get("message"))]
        found += [(f"/error/data/{key}".rstrip("/"), value) for key, value in fields]
        yield from ((pointer, text) for pointer, text in found if isinstance(text, str))
    if isinstance(result, dict) and isinstance(content := result.get("content"), list):
        for index, block in enumerate(content):
            if isinstance(block, dict) and isinstance(text := block.get("text"), str):
                yield f"/result/content/{index}/text", text


def is_about_failure(text: str, walls: Sequence[Wall]) -> bool:
    """True if a result without `isError` tells that something failed."""
    if len(text) > MAX_FAILURE_CHARS:
        return False
    return bool(_FAILURE.search(text)) or any(is_named(wall, text) for wall in walls)


def is_named(wall: Wall, text: str) -> bool:
    """True if a text contains the subject of a wall."""
    return (f":{wall.subject}" if wall.rule == PORT else wall.subject) in text


def describe_walls(walls: Sequence[Wall]) -> str:
    """Tell a model of walls."""
    named = [f"{_show_wall(wall)} ({_event(wall)})" for wall in walls[:MAX_NAMED]]
    named += [f"{len(walls) - MAX_NAMED} more"] if len(walls) > MAX_NAMED else []
    allowable = sum(wall.event != "" and wall.entry != "" for wall in walls)
    events = "these events" if allowable > 1 else "the event"
    who = f", who alone can allow {events}" if allowable else ", who alone decides about it"
    return (
        f"PipeGuard: this server is isolated, and is not given {', nor '.join(named)}. If"
        f" that is what was missing, tell the user{who}; do not work around it."
    )


def _show_wall(wall: Wall) -> str:
    if wall.rule in _FILES:
        return _FILES[wall.rule]
    if wall.rule == PORT:
        return f"port {wall.subject} of this machine"
    subject = _quote_subject(wall.subject) if _is_short(wall) else UNNAMED
    if wall.rule != ADDRESS:
        return f"the host {subject}"
    if not wall.entry:
        return f"the local address that the name of its host {subject} leads to"
    is_private = wall.entry.endswith(PRIVATE)
    where = "the private network" if is_private else "the address of this machine"
    return f"{where} that the name of its host {subject} leads to"


def _event(wall: Wall) -> str:
    """The event's name, and the entry that it gives if the wall does not say that."""
    if wall.entry == "":
        return f"event {wall.event}, for which no such address is given"
    entry = wall.entry if wall.rule == ADDRESS and _is_short(wall) else None
    gives = f", for exactly {_quote_subject(entry)}" if entry else ""
    return f"event {wall.event}{gives}"


def _is_short(wall: Wall) -> bool:
    return len(_WORD.findall(wall.subject)) <= MAX_WORDS


def _quote_subject(text: str) -> str:
    return json.dumps(cut(visible(text), MAX_SUBJECT_CHARS), ensure_ascii=False)
