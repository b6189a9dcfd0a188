"""A stopped call for the person who decides on it: arguments, order and differences, masked."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import starmap
from typing import Any

from pipeguard.detect.checks.credential_names import is_credential_name
from pipeguard.detect.cuts import KEPT_CHARS
from pipeguard.detect.flows import overlap, secret_values, tool_results
from pipeguard.detect.flows.leak import SECRET_OUT, Leak, OrderPassage
from pipeguard.detect.flows.outgoing_call import ANY_BYTES, CODE_CHARS
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
)
from pipeguard.firewall.protocol.message import Message
from pipeguard.firewall.protocol.places import ARGUMENTS, MASKED_STEP, Surface, get_value, pointer
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session.rewrite import find_string, redact
from pipeguard.records import NamedTuple
from pipeguard.unicode.name_words import name_words

MASKED_CHARS = 2**18  # of a message's texts that are read; the others become dots
PIECE_CHARS = 6  # of a secret that identify it
APART = '"' + "\n" * 48  # between texts: none is an exception for a secret in another
SECRET_CHARS = 2**13  # around a shown part, so that a secret is found whole
ARGUMENTS_BYTES = 2**14  # of a call's arguments that a person is shown, in JSON
NAME_BYTES, SIGNS_BYTES = 256, 3  # of a shown name, at most; of JSON around a value
READ_CHARS = 2**16  # of a text that are searched
MOST_TEXTS = 16  # of a call that are looked up
# On each side of a value in the passage that it repeats; of a value that repeats a text, at least.
PASSAGE_CHARS, PART_CHARS = 160, 16
FRAME_CHARS = 1000  # of another message that a person is shown, before and after its secret
COMPARED_BYTES = 2**18  # of arguments that are compared
MOST_DIFFERENCES, MOST_VALUES = 8, 3  # with the shortest values; of a list in one of them
VALUE_CHARS, LINE_CHARS = 80, 1000  # of a longer value only its length is shown; of a difference
WHOLE_CHARS = 2048  # of a name, or of a text with a form of its own, at most
NAME_CHARS, POWER_CHARS = 40, 3  # of an argument's name; of a power of ten that is written out
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
        room: for arguments, in bytes of JSON.
    """

    def __init__(self, knowledge: Knowledge, findings: Sequence[Finding | Leak] = ()) -> None:
        self.knowledge, self.room = knowledge, ARGUMENTS_BYTES - NAME_BYTES
        self._left, self._masked = MASKED_CHARS, dict[str, str]()
        self._takes_secret = any(found.rule == SECRET_OUT for found in findings)
        self._is_private = any(tells_private(found.rule) for found in findings)
        self._returned = knowledge.flows.returned_secrets(all_kinds=self._takes_secret)

    def mask(self, texts: Collection[str], *, is_telling: bool = False) -> dict[str, str]:
        """Texts, and each with a dot for each character of a secret; of all beyond the budget.

        Args:
            texts: to be read, all at once.
            is_telling: True if they say to whom, where or how much: numbers of persons are shown.
        """
        read = APART.join(texts)[: self._left]
        self._left -= len(read)
        dotted, at, masked = self._dot(read, is_telling), 0, dict[str, str]()
        for text in texts:
            end = at + len(text)
            masked[text] = dotted[at:end] if end <= len(dotted) else "…" * len(text)
            at = end + len(APART)
        return masked

    def _dot(self, text: str, is_telling: bool) -> str:  # noqa: FBT001  internal
        knowledge, masked = self.knowledge, text
        for engine in knowledge.scanners[Surface.TO_SERVER]:
            masked = engine.dot_secrets(masked, lambda rule: _hides(rule, is_telling=is_telling))
        secrets = secret_values.named_secrets(masked)
        ends = {masked[at : at + CODE_CHARS] for at in range(len(masked))}
        secrets += [each for each in self._returned if each[-CODE_CHARS:] in ends]
        secrets += knowledge.known_secrets.find_secrets(masked)
        if knowledge.vault is not None:
            secrets += knowledge.vault.find_secrets(masked)
        for secret in sorted(secrets, key=len, reverse=True):
            masked = masked.replace(secret, "…" * len(secret))
        masked = masked if is_telling else _TOKEN.sub(_dot_random, masked)
        return masked if len(masked) == len(text) else "…" * len(text)

    def find_pieces(self, texts: Sequence[str]) -> set[str]:
        """The masked texts that may have a part of a secret from a result, perhaps encoded."""
        parts = {part for secret in self._returned for part in secret.split("/")}
        bare = "\n".join(overlap.squeeze(part) for part in parts if not _FORM.fullmatch(part))
        found = dict[str, set[str]]()
        for text in texts if self._takes_secret else ():
            read = map(overlap.squeeze, readings(text.encode()))
            found[text] = overlap.rows("\n".join(read), PIECE_CHARS)
        every = [*set[str]().union(*found.values())]
        held = overlap.find_held(every, [bare], overlap.SearchBudget(ANY_BYTES))
        pieces = {every[at] for at in held.get(0, ())}
        return {text for text, rows in found.items() if not pieces.isdisjoint(rows)}

    def read(self, arguments: JsonObject) -> None:
        """Read all names and texts at once, those that say to whom or where first."""
        telling, others = dict[str, None](), dict[str, None]()
        for names, value in _walk(arguments):
            others |= {name[:WHOLE_CHARS]: None for name in names[-1:]}
            if isinstance(value, str):
                read = others if _rank(names, value) == OTHER else telling
                read["".join(_label(names, value))] = None
        self._masked = self.mask(telling, is_telling=True) | self.mask(others)

    def show_name(self, name: str, at: int) -> str:
        """The name of a member with its invisible characters; with its number if it is altered."""
        is_hidden = self._is_private and MASKED_STEP in pointer((name,))
        masked = MASKED_STEP if is_hidden else self._masked[name[:WHOLE_CHARS]]
        shown = show_visibly(hide_long_tokens(masked), NAME_CHARS)
        shown = name if shown == name and "…" not in name else f"{shown} {at}"
        self.room -= len(serialise(shown))
        return shown

    def show(self, value: JsonValue, names: tuple[str, ...]) -> JsonValue:
        """A value below some names."""
        self.room -= SIGNS_BYTES
        if isinstance(value, dict):
            members = sorted(value.items(), key=lambda each: _rank(each[:1], each[1]))
            return {
                self.show_name(name, at): self.show(member, (*names, name))
                for at, (name, member) in enumerate(members)
                if self.room > 0
            }
        if isinstance(value, list):
            return [self.show(member, names) for member in value if self.room > 0]
        shown = self._show_text(value, names) if isinstance(value, str) else value
        self.room -= len(serialise(shown))
        return value if shown == value else shown

    def _show_text(self, value: str, names: tuple[str, ...]) -> str:
        """The start of a text, and all addresses and accounts in its rest."""
        label, text = _label(names, value)
        masked = self._masked[label + text][len(label) :]
        masked = "…" * len(text) if any(map(is_credential_name, names)) else masked
        shown, chars = masked, min(len(text), max(0, self.room // 2))
        while chars and len(serialise(shown)) > self.room // 2:
            rest = dict.fromkeys(_TELLING.findall(masked, chars, READ_CHARS))
            shown = f"{masked[:chars]}… {' '.join(rest)[: chars // 4]}".rstrip()
            chars = chars * 3 // 4
        return shown


def _hides(rule: str, *, is_telling: bool) -> bool:
    """True if a rule's finding is hidden from the person who decides: not an account."""
    is_person = rule.startswith("personal.") and rule != "personal.iban"
    return rule.startswith("secrets.") or (is_person and not is_telling)


def _hide_text(text: str) -> str:
    """Dots for all of a text but the end of its first host, unless that may be a secret's part."""
    host = _HOST.search(text)
    return "………" + (host[1] if host and _LABELS.fullmatch(host[1]) else "")


def _cut(masked: str, limit_chars: int, values: Sequence[str] = ()) -> str:
    """The start of a masked text without long tokens, but with values and all targets."""
    kept = "|".join((*map(re.escape, values), _TELLING.pattern))
    parts = re.split(f"({kept})", _DOTS.sub("…", masked[: 4 * limit_chars]))
    hidden = (part if at % 2 else hide_long_tokens(part) for at, part in enumerate(parts))
    return show_visibly("".join(hidden), limit_chars)


def _dot_random(token: re.Match[str]) -> str:
    """Dots in place of a token that looks like a secret."""
    is_shown = _TELLING.fullmatch(token[0]) or not secret_values.is_random(token[0])
    return token[0] if is_shown else "…" * len(token[0])


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
        start = _find_shared(text, values)
        if start >= 0:
            passage = OrderPassage(text, max(0, start - PASSAGE_CHARS), start + KEPT_CHARS)
    if passage is not None:
        text, start, end = passage
        low = max(0, start - SECRET_CHARS)
        (around,) = cover.mask([text[low : end + SECRET_CHARS]], is_telling=True).values()
        masked = around[start - low : end - low]
        at = next((at for value in values if (at := masked.find(value)) >= 0), 0)
        masked = masked[max(0, at - PASSAGE_CHARS) :] if at > KEPT_CHARS // 2 else masked
        excerpt = _cut(masked, KEPT_CHARS, [value for value in values if value in masked])
        shown["excerpt"] = _hide_text(excerpt) if cover.find_pieces([excerpt]) else excerpt
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
    (masked,) = _Cover(knowledge).mask([text[first : first + 2 * around]]).values()
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

    To whom and where comes first, then how much; of these, the shortest. In another reading, or
    in pieces, a secret may be anywhere in its argument.
    """
    given = get_value(message.value, ARGUMENTS)
    if not isinstance(given, dict) or not given:
        return {"unseen": f"{_count(given)}"} if given else {}
    clean, spread = _without_found(message, findings)
    ranks = {name: min(starmap(_rank, _walk({name: each}))) for name, each in clean.items()}
    counts = {name: _count(value) for name, value in given.items()}
    ordered = sorted(clean, key=lambda name: (ranks[name], counts[name]))
    drawn = dict[str, tuple[str, JsonValue]]()
    cover.read({name: clean[name] for name in ordered})
    for at, name in enumerate(ordered):
        if cover.room > 0:
            title, value = cover.show_name(name, at), cover.show(clean[name], (name,))
            is_found = not spread.isdisjoint(("", pointer((name,))[1:]))
            if is_found or (spread and ranks[name] == OTHER):  # which may have a piece of it
                value = _hide_text(serialise(value).decode())
            drawn[name] = title, value
    texts = {serialise({title: value}).decode(): name for name, (title, value) in drawn.items()}
    for text in cover.find_pieces([*texts]):
        drawn[texts[text]] = drawn[texts[text]][0], _hide_text(text)
    lengths, unseen = dict[str, int](), sum(counts.values()) + sum(map(len, counts))
    for name, (title, value) in drawn.items():
        seen = min(counts[name], _count(value))
        unseen -= seen + min(len(name), len(title))
        lengths |= {title: counts[name]} if seen < counts[name] else {}
    return {
        "arguments": serialise(dict(drawn.values())).decode(),
        "targets": str(sum(ranks[name] < LIKELY for name in drawn)),
        "unseen": str(unseen) if unseen else "",
        "lengths": json.dumps(lengths, separators=(",", ":")) if lengths else "",
    }


def _without_found(message: Message, findings: Sequence[Finding]) -> tuple[JsonObject, set[str]]:
    """The arguments with dots in place of the secrets that rules found in them.

    In another reading, or in pieces, a secret may be anywhere in its argument: these are named,
    and it is empty for all.
    """
    private = [
        each._replace(action=Action.REDACT)
        for each in findings
        if _hides(each.rule, is_telling=_rank(each.pointer.split("/")[3:], None) != OTHER)
    ]
    located = [f for f in private if f.end > f.start and find_string(message.value, f.pointer)]
    value = redact(message.value, located, lambda _, text: "…" * len(text))
    spread = {"".join(each.pointer.split("/")[3:4]) for each in private if each not in located}
    return as_object(get_value(value, ARGUMENTS)), spread


def _label(names: tuple[str, ...], value: str) -> tuple[str, str]:
    """The name before a text, which may call it a secret; and the start of the text."""
    power = value.lower().partition("e")[2] if type(value) is Number else ""
    text = f"{Decimal(value):f}" if 0 < len(power) <= POWER_CHARS else value
    return f'"{names[-1][:NAME_CHARS]}":"', text[: READ_CHARS + SECRET_CHARS]


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
        return LIKELY if type(value) is Number or _FORM.fullmatch(value) else OTHER
    return rank


@lru_cache(maxsize=1024)
def _rank_name(name: str) -> int:
    words = name_words("".join(filter(str.isprintable, name)))
    forms = {form for word in words for form in (word, word[:-1])}
    return TARGET if forms & lists.DECIDING else AMOUNT if forms & lists.HOW_MUCH else OTHER


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
    described = [each.describe() for each in differing[:MOST_DIFFERENCES]]
    lines = [_cut(masked, LINE_CHARS) for masked in cover.mask(described).values()]
    held = cover.find_pieces(lines)
    lines = [line for line in lines if line not in held]
    more = len(differing) - len(lines)
    return "\n".join([*lines, *([f"and {more} more"] if more else [])]) or NONE


def _values(arguments: JsonValue) -> _Values:
    """The values of a call; list items are grouped."""
    values: dict[tuple[str, ...], list[str]] = {}
    for names, value in _walk(arguments):
        if not (value and isinstance(value, dict | list)):
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

    def describe(self) -> str:
        """A line for a person, with its secrets."""
        name = ".".join(self.path)[:WHOLE_CHARS]
        name = name if _PLAIN_NAME.fullmatch(name) else serialise(name).decode()
        new, last = ", ".join(_shorten(self.new)), ", ".join(_shorten(self.last))
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
    shown = [v if len(v) <= VALUE_CHARS else f"{len(v)} characters" for v in shortest]
    more = len(values) - len(shown)
    return [*shown, *([f"{more} more"] if more else [])]
