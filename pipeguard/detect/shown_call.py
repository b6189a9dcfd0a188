"""A stopped call for the person who decides on it: arguments, order and differences, masked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

from pipeguard.detect.checks.credential_names import is_credential_name
from pipeguard.detect.cuts import KEPT_CHARS
from pipeguard.detect.flows import secret_values
from pipeguard.detect.flows.leak import PRIVATE_OUT, SECRET_OUT, OrderPassage
from pipeguard.detect.flows.tool_labels import Tool
from pipeguard.detect.knowledge import Knowledge
from pipeguard.detect.scanning.surroundings import hide_long_tokens, show_visibly
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, serialise
from pipeguard.firewall.protocol.places import ARGUMENTS, Surface, get_value
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.records import NamedTuple

SECRET_CHARS = 2**14  # around a shown part, so that a secret is found whole
ARGUMENTS_CHARS = 1200  # of a call's arguments that a person is shown
COMPARED_BYTES = 2**18  # of arguments that are compared
MOST_DIFFERENCES = 8  # shown, those with the shortest values
MOST_VALUES = 3  # of a list, in one difference
WHOLE_CHARS = 2048  # of a value: of a longer one only its length is shown
VALUE_CHARS = 80  # of a value that is shown
BEGIN_CHARS = 4  # of a word that may be a piece of a secret
NAME_CHARS = 40  # of an argument's name
FIRST = "first call of this tool in this session"
FORGOTTEN = "cannot be told: what passed of this tool before is no longer remembered"
NOT_KEPT = "cannot be told: the calls of this tool that passed are too long, or hold a secret"
TOO_LONG = "cannot be told: the arguments are too long to compare"
NONE = "nothing: calls of this tool that passed had the same values"
_PLAIN_NAME = lazy_regex(r"[\w.…-]+")
_DOTS = lazy_regex("…{2,}")
_HOST = lazy_regex(r"https?://[\w.:-]{1,255}")
# Of a serialised text: the rest of a long value, and the words that may be a piece of a secret.
_LONG_VALUE = lazy_regex(rf'((?:[^"\\]|\\.){{{VALUE_CHARS}}})((?:[^"\\]|\\.)+)')
_PIECE = lazy_regex(rf'(?![A-Za-z]+\b)([^\s"{{}}\[\],:]{{{BEGIN_CHARS}}})[^\s"{{}}\[\],:]+')
# A mail address, the host of a web address, an account (ISO 13616), a number.
_ADDRESS = r"[\w.+-]{1,64}@[\w.-]{1,255}|https?://[\w.:-]{1,255}"
_TARGET = lazy_regex(rf"({_ADDRESS})")
_TELLING = lazy_regex(
    rf"({_ADDRESS}"
    r"|\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b|\b\d[\d -]{4,33}\d\b)"
)

_Values = dict[tuple[str, ...], tuple[str, ...]]  # in JSON, by the names that lead to them


class _Cover(NamedTuple):
    """Hides the parts that a deciding person does not need to see.

    Attributes:
        knowledge: of the server.
        rules: that found something in the call. Of leaving private text, only the beginning is
            shown; of a secret from a result, nothing.
    """

    knowledge: Knowledge
    rules: Collection[str] = ()

    def mask(self, text: str) -> str:
        """A text with a dot in place of each character of a secret."""
        knowledge = self.knowledge
        for engine in knowledge.scanners[Surface.TO_SERVER]:
            text = engine.dot_secrets(text)
        secrets = secret_values.named_secrets(text)
        secrets += knowledge.flows.returned_secrets(all_kinds=SECRET_OUT in self.rules)
        if knowledge.vault is not None:
            secrets += knowledge.vault.find_secrets(text)
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "…" * len(secret))
        return text

    def cut(self, masked: str, limit_chars: int) -> str:
        """The start of a masked text; a person needs to see accounts, addresses and hosts whole."""
        if PRIVATE_OUT in self.rules:
            # The beginning of a long value, and the hosts in its rest.
            masked = _LONG_VALUE.sub(lambda v: " ".join((f"{v[1]}…", *_HOST.findall(v[2]))), masked)
        telling, hide = _TELLING, hide_long_tokens
        if SECRET_OUT in self.rules:
            telling, hide = _TARGET, lambda text: _PIECE.sub(r"\1…", text)
        parts = telling.split(_DOTS.sub("…", masked[: 4 * limit_chars]))
        shown = "".join(part if index % 2 else hide(part) for index, part in enumerate(parts))
        return show_visibly(shown, limit_chars)


def show_passage(knowledge: Knowledge, passage: OrderPassage) -> str:
    """The words of a result that ordered a call, without secrets."""
    cover, first = _Cover(knowledge), max(0, passage.start - SECRET_CHARS)
    masked = cover.mask(passage.text[first : passage.end + SECRET_CHARS])
    return cover.cut(masked[passage.start - first : passage.end - first], KEPT_CHARS)


def show_call(
    knowledge: Knowledge, tool: Tool, arguments: JsonValue, rules: Collection[str]
) -> tuple[str, str]:
    """The arguments of a call for a person, and the differences from the last calls, by line.

    The shortest arguments come first: no long text hides another. There are no differences for a
    tool that does nothing of consequence.

    Args:
        knowledge: of the server.
        tool: the called tool.
        arguments: of the call.
        rules: that found something in it.
    """
    cover = _Cover(knowledge, rules)
    given = serialise(_shortest_first(arguments))[:SECRET_CHARS].decode("utf-8", "ignore")
    differences = _show_differences(cover, tool, arguments) if tool.is_consequential else ""
    return cover.cut(cover.mask(given), ARGUMENTS_CHARS), differences


def _shortest_first(value: JsonValue) -> JsonValue:
    """A value with its short members first, and dots in place of credentials."""
    if isinstance(value, list):
        return [_shortest_first(item) for item in value]
    if not isinstance(value, dict):
        return value
    pairs = [(k, "…" if is_credential_name(k) else _shortest_first(v)) for k, v in value.items()]
    return dict(sorted(pairs, key=lambda pair: len(serialise(pair[1]))))


# --- differences ----------------------------------------------------------------------------


def _show_differences(cover: _Cover, tool: Tool, arguments: JsonValue) -> str:
    """The differences from the last forwarded calls of the tool, a line each."""
    frames = cover.knowledge.flows.passed_calls(tool)
    if not frames:
        return FORGOTTEN if frames is None else FIRST
    before = [_values(get_value(parse_json(frame), ARGUMENTS)) for frame in frames if frame]
    if not before:
        return NOT_KEPT
    if len(serialise(arguments)) > COMPARED_BYTES:
        return TOO_LONG
    differing = list(_find_differences(_values(arguments), before))
    differing.sort(key=lambda each: (not each.new, len("".join(each.new))))
    lines = [each.words for each in _mask_differences(cover, differing[:MOST_DIFFERENCES])]
    more = len(differing) - len(lines)
    return "\n".join([*lines, *([f"and {more} more"] if more else [])]) or NONE


def _values(arguments: JsonValue) -> _Values:
    """The values of a call; list items are grouped."""
    values: dict[tuple[str, ...], list[str]] = {}
    for path, value in _walk(arguments, ()):
        values.setdefault(path, []).append(value)
    return {path: tuple(each) for path, each in values.items()}


def _walk(value: JsonValue, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _walk("…" if is_credential_name(key) else item, (*path, key))
    elif isinstance(value, list) and value:
        for item in value:
            yield from _walk(item, path)
    else:
        yield path, serialise(value).decode()


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

    @property
    def words(self) -> str:
        """A line for a person, with text that is masked already."""
        name = ".".join(self.path)
        name = name if _PLAIN_NAME.fullmatch(name) else serialise(name).decode()
        if not self.last:
            return f"{name}: {', '.join(self.new)} (new)"
        times = f"{self.calls} call{'' if self.calls == 1 else 's'}"
        new, last = ", ".join(self.new) or "missing", ", ".join(self.last)
        return f"{name}: {new} (last allowed: {last}, {times})"


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


def _mask_differences(cover: _Cover, differing: Iterable[_Difference]) -> list[_Difference]:
    """Mask differences for display, all at once, each value next to its name."""
    short = [each._replace(new=_shorten(each.new), last=_shorten(each.last)) for each in differing]
    parts = list[tuple[str, str, int]]()
    for path, new, last, _ in short:
        beside = f'"{path[-1][:NAME_CHARS]}":' if path else ""
        parts.append(("", ".".join(path)[:WHOLE_CHARS], NAME_CHARS))
        parts += ((beside, value, VALUE_CHARS) for value in (*new, *last))
    masked = cover.mask("\n".join(before + text for before, text, _ in parts))
    shown, at = list[str](), 0
    for before, text, limit_chars in parts:
        start, at = at + len(before), at + len(before) + len(text)
        shown.append(cover.cut(masked[start:at], limit_chars))
        at += 1
    rest = iter(shown)
    return [
        _Difference((next(rest),), [*islice(rest, len(new))], [*islice(rest, len(last))], calls)
        for _, new, last, calls in short
    ]


def _shorten(values: Sequence[str]) -> list[str]:
    """The shortest values of an argument, and the number of the others."""
    shown = [
        value if len(value) <= WHOLE_CHARS else f"{len(value)} characters"
        for value in sorted(values, key=len)[:MOST_VALUES]
    ]
    more = len(values) - len(shown)
    return [*shown, *([f"{more} more"] if more else [])]
