"""A configuration file as a tree of values with their positions; knows no format and no program.

`json_text`, `toml_text` and `yaml_text` each read a format into this tree and make the edits that
insert or remove a member. All positions are characters of the text, from 0, without a byte order
mark.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol, TypeAlias

from pipeguard.errors import PipeGuardError

Value: TypeAlias = bool | int | float | str | Sequence["Value"] | Mapping[str, "Value"] | None
_ONLY_COMMENTS = re.compile(r"(?:\s|#[^\n]*)*")
MOST_DEPTH = 200  # levels; no configuration comes near, and recursion stays far below its limit


class UnreadableError(PipeGuardError):
    """A file that its client cannot read; the message says why, and in which line."""


class UneditableError(PipeGuardError):
    """A valid entry that cannot be changed without touching something else."""


class NodeKind(Enum):
    """The kind of a value."""

    MAP = "map"
    LIST = "list"
    TEXT = "text"
    OTHER = "other"  # a number, a truth value, null, a date


class Style(Enum):
    """The notation of a map or a list, which decides how to edit it."""

    BRACKETS = "brackets"  # JSON, inline in TOML, flow in YAML
    LINES = "lines"  # one line per item: TOML's tables and dotted keys, YAML's blocks


class Span(NamedTuple):
    """Part of a text, `text[start:end]`."""

    start: int
    end: int

    def of(self, text: str) -> str:
        """The part itself."""
        return text[self.start : self.end]


class Edit(NamedTuple):
    """A part of a text, and its replacement."""

    start: int
    end: int
    text: str


Edits = list[Edit]


@dataclass(slots=True, eq=False)
class Node:
    """A value and its position.

    Attributes:
        start: the position of its beginning.
        end: the position of its end; in the style LINES, the end of its last value.
        value: the value of a text or another scalar.
        members: a map's members, in the order of the text.
        style: a map's or list's style.
        shared: it has an anchor or a tag, or is an alias (YAML), so that changing it would change
            something else.
        prefix: the text before a key of this map, as `env.` (TOML's dotted keys).
        regions: its positions, if it has several (TOML's tables); else empty.
    """

    kind: NodeKind
    start: int
    end: int
    value: Value = None
    members: list[Member] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)
    style: Style = Style.BRACKETS
    shared: bool = False
    prefix: str = ""
    regions: list[Span] = field(default_factory=list)
    _indexed: list[Member] | None = field(default=None, repr=False)
    _count: int = field(default=0, repr=False)  # of them that `_by_key` has
    _by_key: dict[str, Member] = field(default_factory=dict, repr=False)

    def member(self, key: str) -> Member | None:
        """The member with that key; of several the last, which most parsers use."""
        if self._indexed is not self.members:
            self._indexed = self.members
            self._count = 0
            self._by_key = {}
        if self._count < len(self.members):  # members of a list are only ever added
            self._by_key |= {member.key: member for member in self.members[self._count :]}
            self._count = len(self.members)
        return self._by_key.get(key)

    def data(self) -> Value:
        """The value without positions; of members with the same key, the last."""
        if self.kind is NodeKind.MAP:
            return {member.key: member.value.data() for member in self.members}
        if self.kind is NodeKind.LIST:
            return [item.data() for item in self.items]
        return self.value

    def at(self, path: Iterable[str | int]) -> Node | None:
        """The node at a path of keys and positions in lists, or None."""
        node: Node | None = self
        for step in path:
            if not node:
                return None
            if isinstance(step, int):
                node = node.items[step] if step < len(node.items) else None
            else:
                member = node.member(step) if node.kind is NodeKind.MAP else None
                node = member.value if member else None
        return node

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for member in self.members:
            yield from member.value.walk()
        for item in self.items:
            yield from item.walk()


@dataclass(slots=True, eq=False)
class Member:
    """One key of a map, and its value.

    Attributes:
        key: the key, without quotes and escapes.
        start: the position of the key.
        end: the position after the value.
        comma: the position of the comma after it, or None.
    """

    key: str
    start: int
    end: int
    value: Node
    comma: int | None = None


class Syntax(Protocol):
    """One format: how to read, check, write and edit it."""

    def read(self, text: str) -> Node:
        """Parse a text into a tree.

        Raises:
            UnreadableError: it is not valid in this format.
        """

    def independent_data(self, text: str) -> Value:
        """Parse a text with another implementation, which does not know positions.

        The result equals `read(text).data()`, or one of the two is wrong.

        Raises:
            UnreadableError: that parser refuses it.
        """

    def literal(self, value: Value) -> str:
        """Write a value on one line."""

    def pairs(self, node: Node, member: Member, text: str, new: Mapping[str, Value]) -> str:
        """Write new members, to replace one of a map."""

    def insert(
        self, node: Node, after: Member | None, text: str, new: Mapping[str, Value]
    ) -> Edits:
        """Insert new members after one of a map, or before all of them."""

    def remove(self, node: Node, gone: Sequence[Member], text: str) -> Edits:
        """Remove members of a map."""

    def prepend(self, node: Node, text: str, new: Sequence[Value]) -> Edits:
        """Insert new items at the beginning of a list."""


class Cursor:
    """A position in a text, which moves over what is read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def take(self, token: str) -> bool:
        """Move over a token; False if another one is here."""
        is_here = self.text.startswith(token, self.position)
        self.position += len(token) * is_here
        return is_here

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Move over what a pattern matches here; None if it does not match."""
        if match := pattern.match(self.text, self.position):
            self.position = match.end()
        return match


def plain(value: Value) -> Value:
    """A value of only dicts, lists and scalars, fit to be compared."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def is_value(value: Value, expected: object) -> bool:
    """True if a value equals another; YAML's tree may have a boolean as a text."""
    if isinstance(expected, bool):
        word = str(expected).lower()
        return value is expected or (isinstance(value, str) and value.lower() == word)
    return value == expected


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """A text with all edits applied; edits at one position in their order.

    Raises:
        UneditableError: two of them overlap.
    """
    parts: list[str] = []
    position = 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        if edit.start < position:
            raise UneditableError("two changes overlap.")
        parts += (text[position : edit.start], edit.text)
        position = edit.end
    return "".join((*parts, text[position:]))


class Lines:
    """An index of a text's lines, for many look-ups: `line_of` reads all the text before."""

    def __init__(self, text: str) -> None:
        self._ends = array("Q", (match.start() for match in re.finditer("\n", text)))

    def of(self, position: int) -> int:
        """The line of a position, from 1."""
        return bisect_left(self._ends, position) + 1


def find_line(text: str, position: int) -> int:
    """The line of a position, from 1."""
    return text.count("\n", 0, position) + 1


def line_start(text: str, position: int) -> int:
    """The beginning of the line of a position."""
    return text.rfind("\n", 0, position) + 1


def line_end(text: str, position: int) -> int:
    """The end of the line of a position, before its line break."""
    end = text.find("\n", position)
    if end < 0:
        return len(text)
    return end - 1 if end > position and text[end - 1] == "\r" else end


def next_line(text: str, position: int) -> int:
    """The beginning of the line after a position, or the text's end."""
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1


def regions(tree: Node, path: Iterable[str | int], text: str) -> list[Span]:
    """The positions of an entry; in the style LINES, each to the end of its last line.

    Raises:
        UneditableError: the entry does not exist.
    """
    node = tree.at(path)
    if not node:
        raise UneditableError("the entry does not exist any more.")
    if node.style is Style.BRACKETS and not node.regions:
        return [Span(node.start, node.end)]
    spans = node.regions or [Span(node.start, node.end)]
    joined: list[Span] = []
    for span in sorted(spans):
        # TOML's statements begin with their line; YAML's blocks with their first key.
        start = line_start(text, span.start) if node.regions else span.start
        whole = Span(start, line_end(text, span.end))
        if joined and whole.start <= joined[-1].end:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, whole.end))
        elif joined and _ONLY_COMMENTS.fullmatch(text, joined[-1].end, whole.start):
            joined[-1] = Span(joined[-1].start, whole.end)
        else:
            joined.append(whole)
    return joined


def whole_lines(text: str, start: int, end: int) -> Span:
    """The lines of a part of a text, with the line break before them; in the first line, after."""
    begin = line_start(text, start)
    if begin == 0:
        return Span(0, next_line(text, end))
    begin -= 2 if text[begin - 2 : begin] == "\r\n" else 1
    return Span(begin, line_end(text, end))


def without_lines(text: str, node: Node, gone: Sequence[Member]) -> Edits:
    """Remove members of a map in the style LINES, except its first in the text.

    Members at its end are removed with the empty lines and comments that would be left after it.
    """
    remaining = [span for member in node.members if member not in gone for span in _spans(member)]
    last = max((span.start for span in remaining), default=0)
    tail = [member for member in gone if member.start > last]
    edits = [
        Edit(lines.start, lines.end, "")
        for lines in (whole_lines(text, m.start, m.end) for m in gone if m not in tail)
    ]
    if not tail:
        return edits
    end = line_end(text, max(member.end for member in tail))
    start = whole_lines(text, min(member.start for member in tail), end).start
    if remaining:
        start = min(start, line_end(text, max(span.end for span in remaining)))
    return [*edits, Edit(start, end, "")]


def _spans(member: Member) -> Sequence[Span]:
    return member.value.regions or [Span(member.start, member.end)]


def newline(text: str) -> str:
    """The line break that a text uses."""
    first = text.find("\n")
    return "\r\n" if first > 0 and text[first - 1] == "\r" else "\n"


def quote(text: str) -> str:
    r"""A text in double quotes, as JSON, TOML and YAML all read it.

    Printable characters stay as they are. A lone surrogate, which only JSON has, becomes an escape.
    """
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(c) or _spell_character(c) for c in text) + '"'


def _spell_character(character: str) -> str:
    # No escape beyond the basic plane is common to the three formats, and no configuration needs an
    # unprintable character from there: it is written as it is.
    is_plain = character.isprintable() and character != "\ufeff"
    return character if is_plain or ord(character) > 0xFFFF else f"\\u{ord(character):04x}"
