"""A stopped call for the person who decides on it: arguments, order and differences, masked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

from pipeguard.detect.checks.credential_names import is_credential_name
from pipeguard.detect.cuts import KEPT_CHARS
from pipeguard.detect.flows import overlap, secret_values, tool_results
from pipeguard.detect.flows.leak import SECRET_OUT, Leak, OrderPassage
from pipeguard.detect.flows.readings import readings
from pipeguard.detect.flows.tool_labels import Tool
from pipeguard.detect.flows.value_places import plain
from pipeguard.detect.knowledge import Knowledge
from pipeguard.detect.scanning.surroundings import hide_long_tokens, show_visibly
from pipeguard.detect.words import arguments as lists
from pipeguard.firewall.finding import Action, Finding, tells_private
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    Number,
    as_object,
    serialise,
    walk_strings,
    walk_values,
    with_strings,
)
from pipeguard.firewall.protocol.message import Message
from pipeguard.firewall.protocol.places import ARGUMENTS, MASKED_STEP, Surface, get_value, pointer
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session.rewrite import find_string, redact
from pipeguard.records import NamedTuple
from pipeguard.unicode.name_words import name_words

SECRET_CHARS = 2**14  # around a shown part, so that a secret is found whole
ARGUMENTS_BYTES = 2**14  # of a call's arguments that a person is shown, in JSON
MOST_ITEMS, READ_CHARS = 1000, 2**18  # of a list, and of a text, that are searched
# On each side of a value in the passage that it repeats; of a value that repeats a text, at least.
PASSAGE_CHARS, PART_CHARS = 160, 16
MOST_TEXTS = 16  # of a call that are looked up
FRAME_CHARS = 1000  # of another message that a person is shown, before and after its secret
PIECE_CHARS = 6  # of a secret that identify it
COMPARED_BYTES = 2**18  # of arguments that are compared
MOST_DIFFERENCES, MOST_VALUES = 8, 3  # with the shortest values; of a list in one of them
WHOLE_CHARS, VALUE_CHARS = 2048, 80  # of a longer value only its length is shown; of one shown
BEGIN_CHARS = 4  # of a text that may have a secret, or a piece of one
NAME_CHARS = 40  # of an argument's name
# By its name, to whom, where or which command; how much; one of these by its form; and the rest.
TARGET, AMOUNT, LIKELY, OTHER = range(4)
FIRST = "first call of this tool in this session"
NOT_COMPARED = "cannot be told: earlier calls are not kept, or this one is too long to compare"
NONE = "nothing: calls of this tool that passed had the same values"
_PLAIN_NAME = lazy_regex(r"[\w.…-]+")
_DOTS = lazy_regex("…{2,}")
# A token that may be a secret.
_TOKEN = lazy_regex(r"[A-Za-z0-9+_=-]{20,}")
# A mail address, the host of a web address, an account (ISO 13616), a number.
_ADDRESS = r"[\w.+-]{1,64}@[\w.-]{1,255}|https?://[\w.:-]{1,255}"
_ACCOUNT = r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"
_HOST = lazy_regex(r"(?:https?://(?:[^\s/?#\\]*@)?|@)(?:[\w-]+\.)*([\w-]+\.[\w-]+)(?![\w.-]*@)")
_LABELS = lazy_regex(r"(?=(?:[a-z.-]*\d){0,2}[a-z.-]*\Z)[a-z0-9.-]{1,32}")  # that are no secret
_TELLING = lazy_regex(rf"{_ADDRESS}|{_ACCOUNT}|\b\d[\d -]{{4,33}}\d\b")
# A whole value: these, a web address with its path, a wallet, a host, a path.
_FORM = lazy_regex(
    rf"\s*(?:{_ADDRESS}|{_ACCOUNT}|[+]?\d[\d .,/-]*|\w{{1,20}}://\S+|0x[0-9a-fA-F]{{40}}"
    r"|(?:[\w-]{1,63}\.)+[A-Za-z]\w{1,30}(?::\d+)?|(?:~|\.{1,2}|[A-Za-z]:)?[/\\][^\n]*)\s*"
)

_Values = dict[tuple[str, ...], tuple[str, ...]]  # in JSON, by the names that lead to them


class _Cover:
    """Hides secrets from the person who decides.

    Args:
        knowledge: of the server.
        findings: in the message, or the leaks in it.

    Attributes:
        knowledge: of the server.
        room: for characters; once it is used up, no more values are shown.
    """

    def __init__(self, knowledge: Knowledge, findings: Sequence[Finding | Leak] = ()) -> None:
        self.knowledge, self.room = knowledge, 0
        self._takes_secret = any(found.rule == SECRET_OUT for found in findings)
        self._is_private = any(tells_private(found.rule) for found in findings)
        self._returned = knowledge.flows.returned_secrets(all_kinds=self._takes_secret)

    def mask(self, text: str, *, is_telling: bool = False) -> str:
        """A text with a dot in place of each character of a secret.

        Args:
            text: to be read.
            is_telling: True if it says to whom, where or how much: numbers of persons are shown.
        """
        knowledge, masked = self.knowledge, text
        for engine in knowledge.scanners[Surface.TO_SERVER]:
            masked = engine.dot_secrets(masked, lambda rule: _hides(rule, is_telling=is_telling))
        secrets = secret_values.named_secrets(masked) + self._returned
        secrets += knowledge.known_secrets.find_secrets(masked)
        if knowledge.vault is not None:
            secrets += knowledge.vault.find_secrets(masked)
        for secret in sorted(secrets, key=len, reverse=True):
            masked = masked.replace(secret, "…" * len(secret))
        return masked if len(masked) == len(text) else "…" * len(text)

    def cut(self, masked: str, limit_chars: int, values: Sequence[str] = ()) -> str:
        """The start of a masked text without long tokens, but with values and all targets."""
        if self._has_piece(masked) or (self._takes_secret and len(masked) < PART_CHARS):
            return _hide_text(masked)
        known = [re.escape(value) for value in values if value in masked][:MOST_TEXTS]
        pattern, shown, at = re.compile("|".join((*known, _TELLING.pattern))), "", 0
        text, hide = _DOTS.sub("…", masked[: 4 * limit_chars]), hide_long_tokens
        for found in pattern.finditer(text):
            shown, at = f"{shown}{hide(text[at : found.start()])}{found[0]}", found.end()
        return show_visibly(shown + hide(text[at:]), limit_chars)

    def show_name(self, name: str, at: int) -> str:
        """The name of a member with its invisible characters; with its number if it is altered."""
        is_hidden = self._is_private and MASKED_STEP in pointer((name,))
        masked = MASKED_STEP if is_hidden else self.mask(name[:WHOLE_CHARS])
        shown = show_visibly(hide_long_tokens(masked), NAME_CHARS)
        return name if shown == name and "…" not in name else f"{shown} {at}"

    def show(self, value: JsonValue, names: tuple[str, ...], limit: int) -> JsonValue:
        """A value without secrets.

        Args:
            value: of a call.
            names: that lead to it.
            limit: of its members, and of the characters of each text; eight times that if it says
                to whom or where.
        """
        if isinstance(value, dict):
            members = sorted(value.items(), key=lambda each: _rank((*names, each[0]), each[1]))
            return {
                self.show_name(name, at): self.show(member, (*names, name), limit)
                for at, (name, member) in enumerate(members[:limit])
                if self.room > 0
            }
        if isinstance(value, list):
            return [self.show(member, names, limit) for member in value[:limit] if self.room > 0]
        text = value if isinstance(value, str) else serialise(value).decode()
        power = text.lower().partition("e")[2] if type(value) is Number else ""
        text = f"{Decimal(text):f}" if 0 < len(power) < BEGIN_CHARS else text
        shown = text if len(text) < BEGIN_CHARS else self._show_text(text, names, limit)
        shown = "…" * len(shown) if any(map(is_credential_name, names)) else shown
        # Each value is read by itself, which takes a millisecond: of many short ones few are shown.
        self.room -= len(shown) + (NAME_CHARS if _rank_name(names) == OTHER else BEGIN_CHARS)
        return value if shown == value or not isinstance(value, str) else shown

    def _show_text(self, text: str, names: tuple[str, ...], limit: int) -> str:
        """The start of a text, and all addresses and accounts in its rest, without secrets."""
        rank = _rank(names, text)
        is_telling, chars = rank != OTHER, limit if rank == OTHER else 8 * limit
        before, read = f'"{names[-1][:NAME_CHARS]}":"', text[: chars + SECRET_CHARS]
        masked = self.mask(before + read, is_telling=is_telling)[len(before) :]
        shown = (masked if is_telling else _TOKEN.sub(_dot_random, masked))[:chars]
        if chars < len(text):
            rest = dict.fromkeys(each[0] for each in _TELLING.finditer(text, chars, READ_CHARS))
            shown = f"{shown}… {self.mask(' '.join(rest)[: chars // 4])}".rstrip()
        return shown

    def repeats_secret(self, name: str, value: JsonValue) -> bool:
        """True if an argument may have a part of a secret from a result."""
        text = serialise({name: value})[: 2 * ARGUMENTS_BYTES].decode("utf-8", "ignore")
        return self._takes_secret and self._has_piece(self.mask(text))

    def _has_piece(self, text: str) -> bool:
        """True if a part of a secret from a result is in a text, perhaps encoded."""
        parts = (part for secret in self._returned for part in secret.split("/"))
        letters = "\n".join(overlap.squeeze(part) for part in parts if not _FORM.fullmatch(part))
        return self._takes_secret and any(
            read[at : at + PIECE_CHARS] in letters
            for read in map(overlap.squeeze, readings(text.encode()))
            for at in range(len(read) - PIECE_CHARS + 1)
        )


def _hides(rule: str, *, is_telling: bool) -> bool:
    """True if a rule's finding is hidden from the person who decides: not an account."""
    is_person = rule.startswith("personal.") and rule != "personal.iban"
    return rule.startswith("secrets.") or (is_person and not is_telling)


def _hide_text(text: str) -> str:
    """Dots for all of a text but the end of its first host, unless that may be a secret's part."""
    host = _HOST.search(text)
    return "………" + (host[1] if host and _LABELS.fullmatch(host[1]) else "")


def _dot_random(token: re.Match[str]) -> str:
    """Dots in place of a token that looks like a secret."""
    return "…" * len(token[0]) if secret_values.is_random(token[0]) else token[0]


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
    cover, leak = _Cover(knowledge, leaks), leaks[0]
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
        start = next((at for value in values if (at := _find_shared(text, value)) >= 0), -1)
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


def _find_shared(text: str, value: str) -> int:
    """The first place where a value, or a part of it, is in a text; or -1."""
    parts = {value[at : at + PART_CHARS] for at in range(0, len(value[:READ_CHARS]), PART_CHARS)}
    places = range(min(len(text), READ_CHARS) - PART_CHARS + 1)
    part = (at for at in places if text[at : at + PART_CHARS] in parts)
    return next(part, -1) if value not in text else text.find(value)


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
    masked = _TOKEN.sub(_dot_random, _Cover(knowledge).mask(text[first : first + 2 * around]))
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
    cover = _Cover(knowledge, findings)
    shown = _show_arguments(cover, message, findings)
    if tool.is_consequential and not any(tells_private(found.rule) for found in findings):
        shown["differs"] = _show_differences(cover, tool, get_value(message.value, ARGUMENTS))
    return shown


# --- arguments ------------------------------------------------------------------------------


def _show_arguments(cover: _Cover, message: Message, findings: Sequence[Finding]) -> dict[str, Any]:
    """The arguments as far as there is room, and the number of characters that are missing.

    To whom and where comes first, then how much; of these, the shortest.
    """
    given = get_value(message.value, ARGUMENTS)
    if not isinstance(given, dict) or not given:
        return {"unseen": f"{_count(given)}"} if given else {}
    clean = _without_found(cover, message, findings)
    counts = zip(clean.items(), map(_count, given.values()), strict=True)
    ranked = [(_rank((name,), value), count, name, value) for (name, value), count in counts]
    ranked.sort(key=lambda each: each[:2])
    drawn, targets = dict[int, tuple[str, JsonValue]](), sum(rank < LIKELY for rank, *_ in ranked)
    for places in (range(targets), range(targets, len(ranked))):  # the targets have room first
        before, limit, used = drawn, 2 * ARGUMENTS_BYTES, _measure(drawn)
        while limit == 2 * ARGUMENTS_BYTES or _measure(drawn) > ARGUMENTS_BYTES:
            limit, cover.room, drawn = limit // 2, ARGUMENTS_BYTES - used, {**before}
            for at, (_, _, name, value) in zip(
                places[:limit], ranked[places.start :], strict=False
            ):
                drawn[at] = cover.show_name(name, at), cover.show(value, (name,), limit)
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


def _without_found(cover: _Cover, message: Message, findings: Sequence[Finding]) -> JsonObject:
    """The arguments with dots in place of the secrets that rules found in them.

    In another reading, or in pieces, a secret may be anywhere in its argument.
    """
    private = [
        each._replace(action=Action.REDACT)
        for each in findings
        if _hides(each.rule, is_telling=_rank((*each.pointer.split("/")[3:],), None) != OTHER)
    ]
    located = [f for f in private if f.end > f.start and find_string(message.value, f.pointer)]
    value = redact(message.value, located, lambda _, text: "…" * len(text))
    clean = as_object(get_value(value, ARGUMENTS))
    spread = [each.pointer.split("/")[3:4] for each in private if each not in located]
    for name, each in clean.items():
        if [] in spread or [pointer((name,))[1:]] in spread or cover.repeats_secret(name, each):
            clean[name] = _hide_text(serialise(each).decode())
        elif spread and _rank((name,), each) == OTHER:  # a piece of it may be here, too
            clean[name] = with_strings(each, hide_long_tokens)
    return clean


def _measure(drawn: dict[int, tuple[str, JsonValue]]) -> int:
    """The bytes of arguments in JSON."""
    return len(serialise(dict(drawn.values())))


def _count(value: JsonValue) -> int:
    """The number of characters of a value that can be read."""
    text = value if isinstance(value, str) else serialise(value).decode()
    return len(text) - text.count("…")


def _rank(names: tuple[str, ...], value: JsonValue) -> int:
    """The importance of a value below some names for the person who decides."""
    rank = _rank_name(tuple(name[:NAME_CHARS] for name in names))
    if rank == OTHER and isinstance(value, dict):
        return min((_rank((*names, name), each) for name, each in value.items()), default=OTHER)
    if rank == OTHER and isinstance(value, list):
        return min((_rank(names, each) for each in value[:MOST_ITEMS]), default=OTHER)
    if rank == OTHER and isinstance(value, str) and len(value) <= WHOLE_CHARS:
        return LIKELY if type(value) is Number or _FORM.fullmatch(value) else OTHER
    return rank


@lru_cache(maxsize=256)
def _rank_name(names: tuple[str, ...]) -> int:
    readable = ("".join(filter(str.isprintable, name)) for name in names)
    words = {form for name in readable for word in name_words(name) for form in (word, word[:-1])}
    return TARGET if words & lists.DECIDING else AMOUNT if words & lists.HOW_MUCH else OTHER


# --- differences ----------------------------------------------------------------------------


def _show_differences(cover: _Cover, tool: Tool, arguments: JsonValue) -> str:
    """The differences from the last forwarded calls of the tool, a line each."""
    frames = cover.knowledge.flows.passed_calls(tool)
    if frames == []:
        return FIRST
    before = [_values(get_value(parse_json(frame), ARGUMENTS)) for frame in frames or () if frame]
    if not before or len(serialise(arguments)) > COMPARED_BYTES:
        return NOT_COMPARED
    differing = list(_find_differences(_values(arguments), before))
    differing.sort(key=lambda each: (not each.new, len("".join(each.new))))
    lines = [each.describe(cover) for each in differing[:MOST_DIFFERENCES]]
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

    def describe(self, cover: _Cover) -> str:
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
