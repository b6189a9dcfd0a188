"""A stopped call for the person who decides on it: arguments, order and differences, masked.

`hidden_secrets` hides secrets; this draws what is left.
"""

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import starmap
from math import inf
from operator import itemgetter
from typing import Any

from pipeguard.detect.checks.credential_names import is_credential_name
from pipeguard.detect.cuts import KEPT_CHARS
from pipeguard.detect.flows import overlap, tool_labels, tool_results, value_places
from pipeguard.detect.flows.leak import SECRET_OUT, Leak, OrderPassage
from pipeguard.detect.hidden_secrets import (
    FORM,
    PIECE_CHARS,
    TELLING,
    Reason,
    SecretCover,
    find_reason,
    hide_text,
)
from pipeguard.detect.knowledge import Knowledge
from pipeguard.detect.scanning.surroundings import hide_long_tokens, show_visibly
from pipeguard.detect.words import arguments as lists
from pipeguard.firewall.finding import Action, Finding, tells_private
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    Number,
    serialise,
    walk_strings,
    walk_values,
)
from pipeguard.firewall.protocol.message import Message
from pipeguard.firewall.protocol.places import ARGUMENTS, MASKED_STEP, get_value, pointer
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session.rewrite import find_string, redact
from pipeguard.unicode.name_words import name_words

SECRET_CHARS = 2**13  # around a shown part, so that a secret is found whole
ARGUMENTS_BYTES = 2**14  # of a call's arguments that a person is shown, in JSON
NAME_BYTES = 256  # of a shown name, at most
SIGNS_BYTES = 3  # of JSON around a value
READ_CHARS = 2**16  # of a text that are searched
MOST_TEXTS = 16  # of a call that are looked up
PASSAGE_CHARS = 160  # on each side of a value in the passage that it repeats
PART_CHARS = 16  # of a value that repeats a text, at least
FRAME_CHARS = 1000  # of another message that a person is shown, before and after its secret
COMPARED_BYTES = 2**18  # of arguments that are compared
MOST_DIFFERENCES = 8  # with the shortest values
MOST_VALUES = 3  # of a list in a difference
VALUE_CHARS = 80  # of a longer value only its length is shown
LINE_CHARS = 1000  # of a difference
WHOLE_CHARS = 2048  # of a name, or of a text with a form of its own, at most
NAME_CHARS = 40  # of an argument's name
POWER_CHARS = 3  # of a power of ten that is written out
# By its name, to whom, where or which command; how much; one of these by its form; and the rest.
TARGET, AMOUNT, LIKELY, OTHER = range(4)
FIRST = "first call of this tool in this session"
NOT_COMPARED = "cannot be told: earlier calls are not kept, or this one is too long to compare"
NONE = "nothing: calls of this tool that passed had the same values"
_PLAIN_NAME = lazy_regex(r"[\w.…-]+")
_DOTS = lazy_regex("…{2,}")
_Values = dict[tuple[str, ...], tuple[str, ...]]  # in JSON, by the names that lead to them


def _cut(masked: str, limit_chars: int, values: Sequence[str] = ()) -> str:
    """The start of a masked text without long tokens, but with values and all targets."""
    kept = "|".join((*map(re.escape, values), TELLING.pattern))
    parts = re.split(f"({kept})", _DOTS.sub("…", masked[: 4 * limit_chars]))
    hidden = (part if at % 2 else hide_long_tokens(part) for at, part in enumerate(parts))
    return show_visibly("".join(hidden), limit_chars)


# --- results that a call repeats, and other messages ----------------------------------------


def show_source(
    knowledge: Knowledge, leaks: Sequence[Leak], message: Message, now: float
) -> dict[str, Any]:
    """The fields of a finding about the result that a call repeats.

    Args:
        knowledge: of the server.
        leaks: in the call, that of the finding first.
        message: the call.
        now: seconds on the session's clock.
    """
    leak = leaks[0]
    result = leak.result
    shown = {"source": leak.source}
    if not isinstance(result, tool_results.ToolResult):
        return shown
    shown["source_age"] = f"{max(0.0, now - result.since):.1f}"
    shown["marked"] = tool_results.find_mark(result.text()) if result.is_marked() else ""
    texts = walk_strings(get_value(message.value, ARGUMENTS))
    values = sorted((text for _, text in texts), key=len, reverse=True)
    values = [value for value in values[:MOST_TEXTS] if len(value) >= PIECE_CHARS]
    passage = leak.passage
    if passage is None and leak.rule != SECRET_OUT:
        passage = _find_shared(value_places.plain(result.strings()), values)
    if passage is None:
        return shown
    cover = SecretCover(knowledge, leaks)
    low = max(0, passage.start - SECRET_CHARS)
    around = passage.text[low : passage.end + SECRET_CHARS]
    masked = cover.mask({around: True})[around][passage.start - low : passage.end - low]
    at = next((at for value in values if (at := masked.find(value)) >= 0), 0)
    if at > KEPT_CHARS // 2:
        masked = masked[max(0, at - PASSAGE_CHARS) :]
    excerpt = _cut(masked, KEPT_CHARS, [value for value in values if value in masked])
    shown["excerpt"] = hide_text(excerpt) if cover.find_pieces([excerpt]) else excerpt
    return shown


def _find_shared(text: str, values: Sequence[str]) -> OrderPassage | None:
    """The first passage of a text with one of some values, or a part of one."""
    read = [value[: READ_CHARS // MOST_TEXTS] for value in values]
    parts = [each[at : at + PART_CHARS] for each in read for at in range(0, len(each), PART_CHARS)]
    parts = [*dict.fromkeys(part for part in parts if len(part) >= PIECE_CHARS)]
    held = overlap.find_held(parts, [text], overlap.SearchBudget()).get(0)
    if not held:
        return None
    start = text.find(parts[held[0]])
    return OrderPassage(text, max(0, start - PASSAGE_CHARS), start + KEPT_CHARS)


def show_frame(knowledge: Knowledge, message: Message, findings: Sequence[Finding]) -> str:
    """The text around the first secret in a message, with the excerpt of its finding.

    Args:
        knowledge: of the server.
        message: with the secret.
        findings: in it, that of the secret first.
    """
    private = [each._replace(action=Action.REDACT) for each in findings if tells_private(each.rule)]
    excerpts = {each.rule: each.excerpt for each in reversed(private)}
    clean = redact(message.value, private, lambda finding, *_: excerpts[finding.rule])
    text = "\n".join(f"{path[-1]}: {line}" for path, line in walk_strings(clean))
    excerpt = findings[0].excerpt
    margin = FRAME_CHARS + SECRET_CHARS
    first = max(0, text.find(excerpt) - margin)
    around = text[first : first + 2 * margin]
    masked = SecretCover(knowledge).mask({around: False})[around]
    at = masked.find(excerpt)
    return masked[max(0, at - FRAME_CHARS) : at + FRAME_CHARS] if at >= 0 else excerpt


def show_call(
    knowledge: Knowledge, tool: tool_labels.Tool, message: Message, findings: Sequence[Finding]
) -> dict[str, Any]:
    """The fields of a finding that show a call to a person, without its secrets.

    There are no differences for a tool that does nothing of consequence.

    Args:
        knowledge: of the server.
        tool: the called tool.
        message: the call.
        findings: in it.
    """
    arguments = get_value(message.value, ARGUMENTS)
    found = []
    # Arguments with secrets in another reading, or in pieces, which may be anywhere in them; an
    # empty name is for all of them.
    spread = set()
    for each in findings:
        steps = each.pointer.split("/")[3:]
        reason = find_reason(each.rule)
        if reason is Reason.NONE or (reason is Reason.PERSON and _rank(steps, None) != OTHER):
            continue
        secret = find_string(message.value, each.pointer)[each.start : each.end]
        if secret:
            found.append(secret)
        else:
            spread.add("".join(steps[:1]))
    cover = SecretCover(knowledge, findings, found)
    is_private = any(tells_private(each.rule) for each in findings)
    shown = {}
    if isinstance(arguments, dict) and arguments:
        shown = _Drawing(cover, arguments, is_private=is_private).draw(spread)
    elif arguments:
        shown = {"unseen": str(_count(arguments))}
    if tool.is_consequential and not is_private:
        frames = knowledge.flows.passed_calls(tool)
        shown["differs"] = _show_differences(cover, frames, arguments)
    return shown


# --- arguments ------------------------------------------------------------------------------


class _Drawing:
    """The arguments of a call for a person, as far as there is room.

    To whom and where comes first, then how much; of these, the shortest.

    Args:
        cover: hides their secrets.
        arguments: of the call.
        is_private: True if a name of an argument may be a secret.
    """

    def __init__(self, cover: SecretCover, arguments: JsonObject, *, is_private: bool) -> None:
        self._cover = cover
        self._is_private = is_private
        self._room = ARGUMENTS_BYTES - NAME_BYTES  # in bytes of JSON
        self._counts = {name: _count(value) for name, value in arguments.items()}
        self._ranks = {
            name: min(starmap(_rank, _walk({name: value}))) for name, value in arguments.items()
        }
        names = sorted(arguments, key=lambda name: (self._ranks[name], self._counts[name]))
        self._arguments = {name: arguments[name] for name in names}
        # All names and texts, those that say to whom or where first.
        telling: dict[str, bool] = {}
        others: dict[str, bool] = {}
        for path, value in _walk(self._arguments):
            others |= {name[:WHOLE_CHARS]: False for name in path[-1:]}
            if isinstance(value, str):
                is_telling = _rank(path, value) != OTHER
                (telling if is_telling else others)[_label(path) + _spell(value)] = is_telling
        self._masked = cover.mask(telling | others)

    def draw(self, spread: set[str]) -> dict[str, str]:
        """Draw the arguments, and count what is missing.

        Args:
            spread: the arguments that have a secret anywhere.
        """
        drawn = {}
        for at, (name, value) in enumerate(self._arguments.items()):
            if self._room > 0:
                title = self._draw_name(name, at)
                shown = self._draw_value(value, (name,))
                is_found = not spread.isdisjoint(("", pointer((name,))[1:]))
                if is_found or (spread and self._ranks[name] == OTHER):  # which may have a piece
                    shown = hide_text(serialise(shown).decode())
                drawn[name] = title, shown
        texts = {serialise({title: shown}).decode(): name for name, (title, shown) in drawn.items()}
        for text in self._cover.find_pieces([*texts]):
            name = texts[text]
            drawn[name] = drawn[name][0], hide_text(text)
        unseen = sum(self._counts.values()) + sum(map(len, self._counts))
        lengths = {}
        for name, (title, shown) in drawn.items():
            count = self._counts[name]
            seen = min(count, _count(shown))
            unseen -= seen + min(len(name), len(title))
            if seen < count:
                lengths[title] = count
        return {
            "arguments": serialise(dict(drawn.values())).decode(),
            "targets": str(sum(self._ranks[name] < LIKELY for name in drawn)),
            "unseen": str(unseen) if unseen else "",
            "lengths": json.dumps(lengths, separators=(",", ":")) if lengths else "",
        }

    def _draw_name(self, name: str, at: int) -> str:
        """The name of a member with its invisible characters; with its number if it is altered."""
        is_hidden = self._is_private and MASKED_STEP in pointer((name,))
        masked = MASKED_STEP if is_hidden else self._masked[name[:WHOLE_CHARS]]
        shown = show_visibly(hide_long_tokens(masked), NAME_CHARS)
        shown = name if shown == name and "…" not in name else f"{shown} {at}"
        self._room -= len(serialise(shown))
        return shown

    def _draw_value(self, value: JsonValue, names: tuple[str, ...]) -> JsonValue:
        """A value below some names."""
        self._room -= SIGNS_BYTES
        if isinstance(value, dict):
            members = sorted(value.items(), key=lambda each: _rank(each[:1], each[1]))
            return {
                self._draw_name(name, at): self._draw_value(member, (*names, name))
                for at, (name, member) in enumerate(members)
                if self._room > 0
            }
        if isinstance(value, list):
            return [self._draw_value(member, names) for member in value if self._room > 0]
        shown = value
        if isinstance(value, str):  # its start, and all addresses and accounts in its rest
            label = _label(names)
            shown = masked = self._masked[label + _spell(value)][len(label) :]
            if any(map(is_credential_name, names)):
                shown = masked = "…" * len(masked)
            chars = min(len(masked), max(0, self._room // 2))
            while chars and len(serialise(shown)) > self._room // 2:
                rest = dict.fromkeys(TELLING.findall(masked, chars, READ_CHARS))
                shown = f"{masked[:chars]}… {' '.join(rest)[: chars // 4]}".rstrip()
                chars = chars * 3 // 4
        self._room -= len(serialise(shown))
        return value if shown == value else shown


def _label(names: tuple[str, ...]) -> str:
    """The name before a text, which may call it a secret."""
    return f'"{names[-1][:NAME_CHARS]}":"'


def _spell(value: str) -> str:
    """The start of a text; of a number with a power of ten, its digits."""
    power = value.lower().partition("e")[2] if type(value) is Number else ""
    text = f"{Decimal(value):f}" if 0 < len(power) <= POWER_CHARS else value
    return text[: READ_CHARS + SECRET_CHARS]


def _count(value: JsonValue) -> int:
    """The number of characters of a value that can be read."""
    text = value if isinstance(value, str) else serialise(value).decode()
    return len(text) - text.count("…")


def _walk(value: JsonValue) -> Iterator[tuple[tuple[str, ...], JsonValue]]:
    """Each value in a value with the names that lead to it."""
    for path, each in walk_values(value):
        yield tuple(step for step in path if isinstance(step, str)), each


def _rank(names: Sequence[str], value: JsonValue) -> int:
    """The importance of a value below some names for the person who decides."""
    rank = min((_rank_name(name[:NAME_CHARS]) for name in names), default=OTHER)
    if rank == OTHER and isinstance(value, str) and len(value) <= WHOLE_CHARS:
        return LIKELY if type(value) is Number or FORM.fullmatch(value) else OTHER
    return rank


@lru_cache(1024)
def _rank_name(name: str) -> int:
    words = name_words("".join(filter(str.isprintable, name)))
    forms = {form for word in words for form in (word, word[:-1])}
    if forms & lists.DECIDING:
        return TARGET
    return AMOUNT if forms & lists.HOW_MUCH else OTHER


# --- differences ----------------------------------------------------------------------------


def _show_differences(
    cover: SecretCover, frames: Sequence[bytes] | None, arguments: JsonValue
) -> str:
    """The differences from the last forwarded calls of the tool, a line each."""
    if frames is None:
        return NOT_COMPARED
    if not frames:
        return FIRST
    before = [_list_values(get_value(parse_json(frame), ARGUMENTS)) for frame in frames if frame]
    if not before or len(serialise(arguments)) > COMPARED_BYTES:
        return NOT_COMPARED
    differing = sorted(_find_differences(_list_values(arguments), before), key=itemgetter(0))
    described = {line: False for _, line in differing[:MOST_DIFFERENCES]}
    lines = [_cut(masked, LINE_CHARS) for masked in cover.mask(described).values()]
    held = cover.find_pieces(lines)
    lines = [line for line in lines if line not in held]
    if len(lines) < len(differing):
        lines.append(f"and {len(differing) - len(lines)} more")
    return "\n".join(lines) or NONE


def _list_values(arguments: JsonValue) -> _Values:
    """The values of a call; list items are grouped."""
    values: dict[tuple[str, ...], list[str]] = {}
    for names, value in _walk(arguments):
        if not (value and isinstance(value, dict | list)):
            text = "…" if any(map(is_credential_name, names)) else serialise(value).decode()
            values.setdefault(names, []).append(text)
    return {path: tuple(each) for path, each in values.items()}


def _find_differences(values: _Values, before: Sequence[_Values]) -> Iterator[tuple[float, str]]:
    """The differences from earlier calls, a line each, with secrets; each after its rank."""
    for path, now in values.items():
        had = [each[path] for each in before if path in each]
        if not had:
            yield len("".join(now)), f"{_spell_path(path)}: {_shorten(now)} (new)"
        elif now not in had:
            known = {value for each in had for value in each}
            new = [value for value in now if value not in known] or now
            last = _describe_last(had[-1], had.count(had[-1]))
            yield len("".join(new)), f"{_spell_path(path)}: {_shorten(new)} ({last})"
    for path, value in before[-1].items():
        if path not in values and all(path in each for each in before):
            last = _describe_last(value, sum(each[path] == value for each in before))
            yield inf, f"{_spell_path(path)}: missing ({last})"


def _spell_path(path: tuple[str, ...]) -> str:
    name = ".".join(path)[:WHOLE_CHARS]
    return name if _PLAIN_NAME.fullmatch(name) else serialise(name).decode()


def _describe_last(values: Sequence[str], calls: int) -> str:
    times = "1 call" if calls == 1 else f"{calls} calls"
    return f"last allowed: {_shorten(values)}, {times}"


def _shorten(values: Sequence[str]) -> str:
    """The shortest values of an argument, and the number of the others."""
    shortest = sorted(values, key=len)[:MOST_VALUES]
    shown = [v if len(v) <= VALUE_CHARS else f"{len(v)} characters" for v in shortest]
    if len(values) > MOST_VALUES:
        shown.append(f"{len(values) - MOST_VALUES} more")
    return ", ".join(shown)
