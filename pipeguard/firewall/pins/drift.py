"""Classifies and describes how a definition differs from the approved one.

The classes are for policy, the descriptions for people. Decides nothing: policy decides the action
for a class of drift, and rules decide whether a text is poisoned.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain

from pipeguard.firewall.finding import Drift
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.pins.definition_diff import (
    INPUTS,
    Difference,
    SchemaRole,
    Side,
    differences,
    read,
)
from pipeguard.firewall.protocol.json_values import (
    ABSENT,
    JsonObject,
    Number,
    serialise,
    walk_texts,
)
from pipeguard.unicode.display import cut, is_hidden, show, visible

LINE_CHARS = 200  # of one described difference: two lines of a terminal
VALUE_CHARS = 70  # of a value in it: two values and a label fit in a line
LINES = 30  # of one description; `pipeguard diff` shows all of it
EDITS = 4  # of one text that are described one by one
EDIT_GAP_WORDS = 2  # edits that are this close are described as one
EDIT_WORDS = 400  # of both texts together: matching takes up to their cube
CUE_CHARS = 256 * 1024  # of text that is searched for new instructions; more is suspect


def classify(approved_json: str, seen_json: str, kind: str) -> tuple[Drift, ...]:
    """Classify the differences between two definitions.

    Args:
        approved_json: the JSON text that is trusted.
        seen_json: the JSON text that came.
        kind: of both (Pin).

    Returns:
        Every class that applies, the gravest first; none if the texts are equal.
    """
    if approved_json == seen_json:
        return ()
    old, new = read(approved_json), read(seen_json)
    seen = {drift for change in differences(old, new) for drift, _ in _judge(change)}
    if Drift.NAME_ONLY in seen and len(seen) > 1:
        seen = (seen - {Drift.NAME_ONLY}) | {Drift.WORDING}
    if Drift.NAME_ONLY in seen and kind == "server":
        seen = {Drift.OTHER}  # a server with another name may be another server
    if _instructs(old, new):
        seen.add(Drift.INSTRUCTION_ADDED)
    return tuple(drift for drift in Drift if drift in seen) or (Drift.OTHER,)


def describe(approved: str, seen: str) -> tuple[str, ...]:
    """Describe the differences between two definitions in short lines for people.

    Args:
        approved: the JSON text that is trusted.
        seen: the JSON text that came.

    Returns:
        Lines as `description gained: "Read this first."`, none longer than `LINE_CHARS`, with
        invisible characters made visible; none if the texts are equal.
    """
    if approved == seen:
        return ()
    old, new = read(approved), read(seen)
    told = (lines for change in differences(old, new) for _, lines in _judge(change))
    lines = [cut(line, LINE_CHARS) for line in chain.from_iterable(told)]
    if len(lines) > LINES:
        lines[LINES - 1 :] = [f"… and {len(lines) - LINES + 1} more differences"]
    return tuple(lines) or ("changed in a way that has no description",)


# --- classes -------------------------------------------------------------------------------

_NAMES = frozenset({"name", "title"})
_WORDS = frozenset({"description", "title", "$comment", "examples", "markdownDescription"})
# Keywords whose removal or change can accept more (JSON Schema 2020-12, validation, section 6).
_CEILINGS = frozenset(
    ["maxLength", "maximum", "exclusiveMaximum", "maxItems", "maxProperties", "maxContains"]
)
_FLOORS = frozenset(
    ["minLength", "minimum", "exclusiveMinimum", "minItems", "minProperties", "minContains"]
)
_OPEN_ENDS = frozenset({"additionalProperties", "unevaluatedProperties", "unevaluatedItems"})
_RESTRAINTS = frozenset(
    {
        "const",
        "pattern",
        "format",
        "not",
        "multipleOf",
        "uniqueItems",
        "items",
        "contains",
        "propertyNames",
        "allOf",
        "contentEncoding",
        "contentMediaType",
    }
)


# A class, and lines that describe the difference, which are made when they are read.
_Judged = tuple[Drift, Iterable[str]]


def _judge(change: Difference) -> Iterator[_Judged]:
    """Classify and describe a difference, which may be of several classes."""
    top = change.path[0]
    last = change.path[-1]
    if top in INPUTS:
        yield from _judge_schema(change, "parameter")
        return
    if top == "outputSchema":
        told = chain.from_iterable(lines for _, lines in _judge_schema(change, "output"))
        yield Drift.OUTPUT_SCHEMA, told
        return
    present = change.old if change.new is ABSENT else change.new
    drift = Drift.OTHER
    if last in _NAMES and (len(change.path) == 1 or top == "annotations"):
        drift = Drift.NAME_ONLY
    elif top == "annotations" and isinstance(present, bool):
        drift = Drift.ANNOTATION_FLIPPED
    elif top in {"description", "instructions"} or (top, last) == ("frontmatter", "description"):
        drift = Drift.WORDING
    is_hint = top == "annotations" and len(change.path) > 1
    name = show(".".join(change.path[1:] if is_hint else change.path), VALUE_CHARS)
    yield drift, _describe_value(name, change)


def _judge_schema(change: Difference, noun: str) -> Iterator[_Judged]:
    place = change.place
    last = change.path[-1]
    label = show(place.label, VALUE_CHARS)
    if place.role is SchemaRole.PARAMETER and change.old is ABSENT:
        needed = last in place.required_names[1]
        drift = Drift.REQUIRED_PARAMETER_ADDED if needed else Drift.PARAMETER_ADDED
        yield drift, (f"{noun} added: {label}{' (required)' if needed else ''}",)
        yield drift, _describe_new_texts(f"{noun} {label}", change.new)
    elif place.role is SchemaRole.PARAMETER and change.new is ABSENT:
        yield Drift.PARAMETER_REMOVED, (f"{noun} removed: {label}",)
    elif place.keyword == "required":
        started = (Drift.PARAMETER_CHANGED, "required"), (Drift.SCHEMA_WIDENED, "optional")
        for (drift, word), names in zip(started, place.required_anew, strict=True):
            whole = f"{noun} {label}." if label else f"{noun} "
            if names:
                yield drift, [f"{whole}{show(each, VALUE_CHARS)}: now {word}" for each in names]
    else:
        where = f"{noun} {label}" if label else f"{noun} schema"
        is_keyword = place.role is SchemaRole.KEYWORD
        keyword = show(place.keyword, VALUE_CHARS) if is_keyword else "schema"
        lines = (f"{where}: {line}" for line in _describe_value(keyword, change))
        if place.keyword in _WORDS:
            yield Drift.WORDING, lines
        elif _widens(place.keyword, change.old, change.new):
            yield Drift.SCHEMA_WIDENED, lines
        else:
            yield Drift.PARAMETER_CHANGED, lines


def _widens(keyword: str, old: Side, new: Side) -> bool:
    """True if the schema accepts more with the new value than with the old one."""
    if keyword in {"enum", "type"}:
        before, after = _to_set(old), _to_set(new)
        numbers = b'"integer"' in before and b'"number"' in after
        return numbers or (bool(before) and (not after or bool(after - before)))
    if keyword in _CEILINGS | _FLOORS:
        if isinstance(old, Number) and isinstance(new, Number):
            return (float(new) > float(old)) is (keyword in _CEILINGS)
        return new is ABSENT
    if keyword in _OPEN_ENDS:
        return old is False or new is True or new is ABSENT
    if keyword in {"anyOf", "oneOf"}:
        return True  # a branch was added, or all of them were removed
    return keyword in _RESTRAINTS and (new is ABSENT or new is False)


def _to_set(side: Side) -> set[bytes]:
    if side is ABSENT:
        return set()
    return {serialise(value) for value in (side if isinstance(side, list) else [side])}


# --- instructions --------------------------------------------------------------------------

# How descriptions give orders to a model, ask for silence, or point at secrets. Our own list.
_CUE = lazy_regex(
    r"""(?mx)
    \b(?:must|always|never|mandatory|ensure|important|critical|urgent|remember\ to|make\ sure
        |be\ sure|(?:is|are)\ required|need\ to|have\ to|do\ not|don[’']t)\b
    |\b(?:before|after|when|whenever|prior\ to)\ (?:using|calling|invoking|running|you)\b
    |\b(?:ignore|disregard|forget|override|bypass|supersedes?)\b
    |\b(?:secret|silent|quiet|hidden|conceal|confidential|invisible|covert)\w{0,6}
    |\bwithout\ (?:telling|asking|informing|mentioning|notifying|confirm)
    |\bnot\ (?:tell|mention|reveal|show|inform|disclose|notify|ask|display|be\ shown)
    |\b(?:instead\ of|system\ prompt|previous\ instructions?|the\ user)\b
    |\byou\ (?:should|will|shall)\b
    |</?\s?(?:important|system|instructions?|secret|assistant)
    |~/|\.ssh\b|\.env\b|\.aws\b|\bid_rsa|\bcredential|\bpassword|\bapi[ _-]?key|\bprivate\ key
    |(?:^|[.!?:;]\s|[-*•]\s|\bthen\s|\bplease\s|\balso\s|\bfirst,?\s|\band\s)
        (?:add|append|attach|call|copy|execute|forward|include|invoke|open|pass|post|print|provide
        |put|read|reply|respond|run|send|set|tell|transmit|upload|use|write)\b
    """,
)


def _instructs(old: JsonObject, new: JsonObject) -> bool:
    """True if the new definition has an order or asks for secrecy, and the old one did not.

    Cues are counted, so that an approved order that stays is not new. Over the limit nothing is
    searched and the answer is True: no real definition is so long.
    """
    before, after = "\n".join(walk_texts(old)), "\n".join(walk_texts(new))
    if len(before) + len(after) > CUE_CHARS:
        return True
    if sum(map(is_hidden, after)) > sum(map(is_hidden, before)):
        return True
    return bool(_cues(after) - _cues(before))


def _cues(text: str) -> Counter[str]:
    from unicodedata import normalize

    seen = "".join(character for character in text if not is_hidden(character))
    folded = re.sub(r"[^\S\n]+", " ", normalize("NFKC", seen).casefold())
    return Counter(cue.strip(" .!?:;-*•\n") for cue in _CUE.findall(folded))


# --- describing -------------------------------------------------------------------------------


def _describe_new_texts(where: str, schema: Side) -> Iterator[str]:
    """The texts of a new parameter, which a model reads."""
    if isinstance(schema, dict):
        for key in ("title", "description"):
            if isinstance(schema.get(key), str):
                yield f"{where}: {key} gained: {_show_value(schema[key])}"


def _describe_value(name: str, change: Difference) -> Iterator[str]:
    old, new = change.old, change.new
    if _is_text(old) and _is_text(new):
        yield from _describe_text(name, str(old), str(new))
    elif old is ABSENT:
        yield f"{name} gained: {_show_value(new)}"
    elif new is ABSENT:
        yield f"{name} lost: {_show_value(old)}"
    elif isinstance(old, list) and isinstance(new, list):
        before, after = _to_set(old), _to_set(new)
        gained = [_show_value(value) for value in new if serialise(value) not in before]
        lost = [_show_value(value) for value in old if serialise(value) not in after]
        changes = [f"gained {', '.join(gained)}"] if gained else []
        changes += [f"lost {', '.join(lost)}"] if lost else []
        yield f"{name} {' and '.join(changes) or 'has another order'}"
    else:
        yield f"{name}: {_show_value(old)} → {_show_value(new)}"


def _describe_text(name: str, old: str, new: str) -> Iterator[str]:
    """The words gained and lost; for a long or entirely new text, the middle that differs."""
    before, after = _words(old), _words(new)
    if before == after:
        yield f"{name}: white space changed"
        return
    for lost_from, lost_to, gained_from, gained_to in _edits(before, after):
        lost, gained = before[lost_from:lost_to], after[gained_from:gained_to]
        if not lost:
            yield f"{name} gained: {_quote(' '.join(gained), 2 * VALUE_CHARS)}"
        elif not gained:
            yield f"{name} lost: {_quote(' '.join(lost), 2 * VALUE_CHARS)}"
        else:
            old_words, new_words = (_quote(" ".join(x), VALUE_CHARS) for x in (lost, gained))
            yield f"{name}: {old_words} → {new_words}"


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[ \t\r\n]+", text) if word]  # an exotic space stays visible


def _edits(before: list[str], after: list[str]) -> list[tuple[int, int, int, int]]:
    """The spans of words that differ; spans that nearly touch are one."""
    if len(before) + len(after) <= EDIT_WORDS:
        from difflib import SequenceMatcher

        edits: list[tuple[int, int, int, int]] = []
        opcodes = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        for kind, i, i_end, j, j_end in opcodes:
            if kind == "equal":
                continue
            if edits and i - edits[-1][1] <= EDIT_GAP_WORDS:
                edits[-1] = (edits[-1][0], i_end, edits[-1][2], j_end)
            else:
                edits.append((i, i_end, j, j_end))
        if len(edits) <= EDITS:
            return edits
    shorter = min(len(before), len(after))
    head = next((i for i in range(shorter) if before[i] != after[i]), shorter)
    rest = shorter - head
    tail = next((i for i in range(rest) if before[-1 - i] != after[-1 - i]), rest)
    return [(head, len(before) - tail, head, len(after) - tail)]


def _is_text(side: Side) -> bool:
    return isinstance(side, str) and not isinstance(side, Number)


def _show_value(side: Side) -> str:
    if _is_text(side):
        return _quote(str(side), 2 * VALUE_CHARS)
    return show(serialise(None if side is ABSENT else side).decode("utf-8"), VALUE_CHARS)


def _quote(text: str, limit_chars: int) -> str:
    lines = text[: limit_chars + 1].split("\n")
    return '"' + cut(r"\n".join(map(visible, lines)), limit_chars) + '"'
