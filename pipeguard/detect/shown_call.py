"""A stopped call for the person who decides on it: arguments, order and differences, masked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from pipeguard.detect.checks.credential_names import is_credential_name
from pipeguard.detect.cover import (
    ARGUMENTS_BYTES,
    LIKELY,
    MOST_TEXTS,
    NAME_CHARS,
    OTHER,
    PART_CHARS,
    PIECE_CHARS,
    RANDOM,
    READ_CHARS,
    SECRET_CHARS,
    WHOLE_CHARS,
    Cover,
    dot_random,
    hide_text,
    hides,
)
from pipeguard.detect.cuts import KEPT_CHARS
from pipeguard.detect.flows import overlap, tool_results
from pipeguard.detect.flows.leak import SECRET_OUT, Leak, OrderPassage
from pipeguard.detect.flows.tool_labels import Tool
from pipeguard.detect.flows.value_places import plain
from pipeguard.detect.knowledge import Knowledge
from pipeguard.detect.scanning.surroundings import hide_long_tokens
from pipeguard.firewall.finding import Action, Finding, tells_private
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    as_object,
    serialise,
    walk_strings,
    walk_values,
    with_strings,
)
from pipeguard.firewall.protocol.message import Message
from pipeguard.firewall.protocol.places import ARGUMENTS, get_value, pointer
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session.rewrite import find_string, redact
from pipeguard.records import NamedTuple

PASSAGE_CHARS = 160  # on each side of a value in the passage that it repeats
FRAME_CHARS = 1000  # of another message that a person is shown, before and after its secret
COMPARED_BYTES = 2**18  # of arguments that are compared
MOST_DIFFERENCES, MOST_VALUES = 8, 3  # with the shortest values; of a list in one of them
VALUE_CHARS = 80  # of a value that is shown
FIRST = "first call of this tool in this session"
NOT_COMPARED = "cannot be told: earlier calls are not kept, or this one is too long to compare"
NONE = "nothing: calls of this tool that passed had the same values"
_PLAIN_NAME = lazy_regex(r"[\w.…-]+")
_Ranked = tuple[int, int, str, JsonValue]  # an argument: its rank, characters, name and value
_Values = dict[tuple[str, ...], tuple[str, ...]]  # in JSON, by the names that lead to them


# --- results that a call repeats, and other messages ----------------------------------------


def show_source(cover: Cover, leak: Leak, message: Message, now: float) -> dict[str, Any]:
    """The fields of a finding about the result that a call repeats.

    Args:
        cover: of the call.
        leak: in it.
        message: the call.
        now: seconds on the session's clock.
    """
    shown, result, passage = {"source": leak.source}, leak.result, leak.passage
    if not isinstance(result, tool_results.ToolResult):
        return shown
    shown["source_age"] = f"{max(0.0, now - result.since):.1f}"
    shown["marked"] = tool_results.find_mark(result.text()) if result.is_marked() else ""
    texts = walk_strings(get_value(message.value, ARGUMENTS))
    values = sorted((text for _, text in texts), key=len, reverse=True)
    values = [value for value in values[:MOST_TEXTS] if len(value) >= PIECE_CHARS]
    if passage is None and leak.rule != SECRET_OUT:
        text = plain(result.strings())
        start = _find_shared(text, values)
        if start >= 0:
            passage = OrderPassage(text, max(0, start - PASSAGE_CHARS), start + KEPT_CHARS)
    if passage is not None:
        text, start, end = passage
        low = max(0, start - SECRET_CHARS)
        masked = cover.mask(text[low : end + SECRET_CHARS], is_telling=True)
        masked = masked[start - low : end - low]
        at = next((at for value in values if (at := masked.find(value)) >= 0), 0)
        masked = masked[max(0, at - PASSAGE_CHARS) :] if at > KEPT_CHARS // 2 else masked
        shown["excerpt"] = cover.cut(masked, KEPT_CHARS, values)
    return shown


def _find_shared(text: str, values: Sequence[str]) -> int:
    """The first place where one of some values, or a part of it, is in a text; or -1."""
    read = [value[: READ_CHARS // MOST_TEXTS] for value in values]
    parts = [each[at : at + PART_CHARS] for each in read for at in range(0, len(each), PART_CHARS)]
    parts = [*dict.fromkeys(part for part in parts if len(part) >= PIECE_CHARS)]
    held = overlap.find_held(parts, [text], overlap.SearchBudget()).get(0, ())
    return text.find(parts[held[0]]) if held else -1


def show_frame(knowledge: Knowledge, message: Message, findings: Sequence[Finding]) -> str:
    """The text around the first secret in a message, with the excerpt of its finding.

    Args:
        knowledge: of the server.
        message: with the secret.
        findings: in it, that of the secret first.
    """
    private = [each._replace(action=Action.REDACT) for each in findings if tells_private(each.rule)]
    excerpts = {each.rule: each.excerpt for each in reversed(private)}
    clean = redact(message.value, private, lambda rule, _: excerpts[rule])
    text = "\n".join(f"{path[-1]}: {line}" for path, line in walk_strings(clean))
    excerpt, around = findings[0].excerpt, FRAME_CHARS + SECRET_CHARS
    first = max(0, text.find(excerpt) - around)
    masked = RANDOM.sub(dot_random, Cover(knowledge).mask(text[first : first + 2 * around]))
    at = masked.find(excerpt)
    return masked[max(0, at - FRAME_CHARS) : at + FRAME_CHARS] if at >= 0 else excerpt


def show_call(
    knowledge: Knowledge, tool: Tool, message: Message, findings: Sequence[Finding]
) -> dict[str, Any]:
    """The fields of a finding that show a call to a person, without its secrets.

    There are no differences for a tool that does nothing of consequence.

    Args:
        knowledge: of the server.
        tool: the called tool.
        message: the call.
        findings: in it.
    """
    cover = Cover(knowledge, findings)
    shown = _show_arguments(cover, message, findings)
    if tool.is_consequential and not any(tells_private(found.rule) for found in findings):
        shown["differs"] = _show_differences(cover, tool, get_value(message.value, ARGUMENTS))
    return shown


# --- arguments ------------------------------------------------------------------------------


def _show_arguments(cover: Cover, message: Message, findings: Sequence[Finding]) -> dict[str, Any]:
    """The arguments as far as there is room, and the number of characters that are missing.

    To whom and where comes first, then how much; of these, the shortest.
    """
    given = get_value(message.value, ARGUMENTS)
    if not isinstance(given, dict) or not given:
        return {"unseen": f"{_count(given)}"} if given else {}
    clean = _without_found(cover, message, findings)
    counts = zip(clean.items(), map(_count, given.values()), strict=True)
    ranked = [(cover.rank((name,), value), count, name, value) for (name, value), count in counts]
    ranked.sort(key=lambda each: each[:2])
    drawn, targets = dict[int, tuple[str, JsonValue]](), sum(rank < LIKELY for rank, *_ in ranked)
    for places in (range(targets), range(targets, len(ranked))):  # the targets have room first
        before, limit, room = drawn, ARGUMENTS_BYTES, ARGUMENTS_BYTES - _measure(drawn)
        while drawn is before or _measure(drawn) > ARGUMENTS_BYTES:
            draw = partial(_draw, cover, ranked, places, limit, room * limit // ARGUMENTS_BYTES)
            drawn, limit = before | cover.draw(draw), limit * 3 // 4
    lengths, unseen = dict[str, int](), sum(count + len(name) for _, count, name, _ in ranked)
    for at, (name, value) in drawn.items():
        (_, count, given_name, _) = ranked[at]
        seen = min(count, _count(value))
        unseen -= seen + min(len(given_name), len(name))
        lengths |= {name: count} if seen < count else {}
    return {
        "arguments": serialise(dict(drawn.values())).decode(),
        "targets": str(sum(at < targets for at in drawn)),
        "unseen": str(unseen) if unseen else "",
        "lengths": json.dumps(lengths, separators=(",", ":")) if lengths else "",
    }


def _draw(
    cover: Cover, ranked: Sequence[_Ranked], places: range, limit: int, room: int
) -> dict[int, tuple[str, JsonValue]]:
    """The arguments at some places, as far as there is room."""
    cover.room, drawn = room, dict[int, tuple[str, JsonValue]]()
    for at in places[:limit]:
        *_, name, value = ranked[at]
        if cover.room > 0:
            drawn[at] = cover.show_name(name, at), cover.show(value, (name,), limit)
    return drawn


def _without_found(cover: Cover, message: Message, findings: Sequence[Finding]) -> JsonObject:
    """The arguments with dots in place of the secrets that rules found in them.

    In another reading, or in pieces, a secret may be anywhere in its argument.
    """
    private = [
        each._replace(action=Action.REDACT)
        for each in findings
        if hides(each.rule, is_telling=cover.rank((*each.pointer.split("/")[3:],), None) != OTHER)
    ]
    located = [f for f in private if f.end > f.start and find_string(message.value, f.pointer)]
    value = redact(message.value, located, lambda _, text: "…" * len(text))
    clean = as_object(get_value(value, ARGUMENTS))
    spread = [each.pointer.split("/")[3:4] for each in private if each not in located]
    read = clean if cover.takes_secret else {}
    texts = {name: serialise({name: each}).decode() for name, each in read.items()}
    masked = cover.draw(lambda: {name: cover.mask(texts[name][:READ_CHARS]) for name in texts})
    repeating = cover.find_pieces(masked)
    for name, each in clean.items():
        if [] in spread or [pointer((name,))[1:]] in spread or name in repeating:
            clean[name] = hide_text(serialise(each).decode())
        elif spread and cover.rank((name,), each) == OTHER:  # a piece of it may be here, too
            clean[name] = with_strings(each, hide_long_tokens)
    return clean


def _measure(drawn: dict[int, tuple[str, JsonValue]]) -> int:
    """The bytes of arguments in JSON."""
    return len(serialise(dict(drawn.values())))


def _count(value: JsonValue) -> int:
    """The number of characters of a value that can be read."""
    text = value if isinstance(value, str) else serialise(value).decode()
    return len(text) - text.count("…")


# --- differences ----------------------------------------------------------------------------


def _show_differences(cover: Cover, tool: Tool, arguments: JsonValue) -> str:
    """The differences from the last forwarded calls of the tool, a line each."""
    frames = cover.knowledge.flows.passed_calls(tool)
    if frames == []:
        return FIRST
    before = [_values(get_value(parse_json(frame), ARGUMENTS)) for frame in frames or () if frame]
    if not before or len(serialise(arguments)) > COMPARED_BYTES:
        return NOT_COMPARED
    differing = list(_find_differences(_values(arguments), before))
    differing.sort(key=lambda each: (not each.new, len("".join(each.new))))
    lines = cover.draw(lambda: [each.describe(cover) for each in differing[:MOST_DIFFERENCES]])
    more = len(differing) - len(lines)
    return "\n".join([*lines, *([f"and {more} more"] if more else [])]) or NONE


def _values(arguments: JsonValue) -> _Values:
    """The values of a call; list items are grouped."""
    values: dict[tuple[str, ...], list[str]] = {}
    for path, value in walk_values(arguments):
        if not (value and isinstance(value, dict | list)):
            names = tuple(step for step in path if isinstance(step, str))
            text = "…" if any(map(is_credential_name, names)) else serialise(value).decode()
            values.setdefault(names, []).append(text)
    return {path: tuple(each) for path, each in values.items()}


class _Difference(NamedTuple):
    """One difference.

    Attributes:
        path: the names that lead to an argument.
        new: its values that no earlier call had; empty if it is missing.
        last: the values of the last call; empty if no call had it.
        calls: how many calls had these.
    """

    path: tuple[str, ...]
    new: Sequence[str]
    last: Sequence[str] = ()
    calls: int = 0

    def describe(self, cover: Cover) -> str:
        """A line for a person, without secrets."""
        name = cover.cut(cover.mask(".".join(self.path)[:WHOLE_CHARS]), NAME_CHARS)
        name = name if _PLAIN_NAME.fullmatch(name) else serialise(name).decode()
        beside = f'"{self.path[-1][:NAME_CHARS]}":' if self.path else ""
        new, last = (
            ", ".join(cover.cut(cover.mask(beside + v)[len(beside) :], VALUE_CHARS) for v in values)
            for values in (_shorten(self.new), _shorten(self.last))
        )
        if not last:
            return f"{name}: {new} (new)"
        times = f"{self.calls} call{'' if self.calls == 1 else 's'}"
        return f"{name}: {new or 'missing'} (last allowed: {last}, {times})"


def _find_differences(values: _Values, before: Sequence[_Values]) -> Iterator[_Difference]:
    for path, now in values.items():
        had = [each[path] for each in before if path in each]
        if not had:
            yield _Difference(path, now)
        elif now not in had:
            known = {value for each in had for value in each}
            new = [value for value in now if value not in known] or now
            yield _Difference(path, new, had[-1], had.count(had[-1]))
    for path, last in before[-1].items():
        if path not in values and all(path in each for each in before):
            yield _Difference(path, (), last, sum(each[path] == last for each in before))


def _shorten(values: Sequence[str]) -> list[str]:
    """The shortest values of an argument, and the number of the others."""
    shortest = sorted(values, key=len)[:MOST_VALUES]
    shown = [v if len(v) <= WHOLE_CHARS else f"{len(v)} characters" for v in shortest]
    more = len(values) - len(shown)
    return [*shown, *([f"{more} more"] if more else [])]
