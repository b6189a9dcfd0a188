"""A configuration file as a tree of places in its text; knows no format and no client.

Each of `json_text`, `toml_text` and `yaml_text` reads its format into this tree and says how a
member is put in or taken out. All positions are characters of the text, from 0, without a byte
order mark.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, TypeAlias

from pipeguard.errors import PipeGuardError

Value: TypeAlias = bool | int | float | str | Sequence["Value"] | Mapping[str, "Value"] | None
MOST_DEPTH = 200  # levels; no configuration comes near, and recursion stays far from its limit


class UnreadableError(PipeGuardError):
    """A file that is not what its client can read; the message says what and in which line."""


class UneditableError(PipeGuardError):
    """An entry that is right and yet cannot be changed without touching something else."""


class NodeKind(Enum):
    """What stands at a place."""

    MAP = "map"
    LIST = "list"
    TEXT = "text"
    OTHER = "other"  # a number, a truth value, nothing, a date


class Style(Enum):
    """How a map or a list is written, which decides how it is edited."""

    BRACKETS = "brackets"  # JSON, inline in TOML, flow in YAML
    LINES = "lines"  # a line each: TOML's tables and dotted keys, YAML's blocks


@dataclass(frozen=True, slots=True)
class Span:
    """Part of a text, `text[start:end]`."""

    start: int
    end: int

    def of(self, text: str) -> str:
        """What stands there."""
        return text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Edit:
    """A part of a text, and what takes its place."""

    start: int
    end: int
    text: str


@dataclass(slots=True, eq=False)
class Node:
    """A value and where it stands.

    Attributes:
        kind: what it is.
        start: where it begins.
        end: where it ends. Of what is written in lines, the end of its last value.
        value: of a text or another scalar, what it says.
        members: of a map, in the order of the text.
        items: of a list.
        style: of a map or a list.
        shared: it has an anchor or a tag, or is an alias of another (YAML), so that changing it
            changes something else.
        prefix: what stands before a key of this map, as `env.` (TOML's dotted keys).
        regions: where it stands, if in several places (TOML's tables); else empty.
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

    def member(self, key: str) -> Member | None:
        """The member of that name, the last where there are several: parsers mostly take it."""
        return next((member for member in reversed(self.members) if member.key == key), None)

    def data(self) -> Value:
        """All that is in it, without places; of members that stand twice the last."""
        if self.kind is NodeKind.MAP:
            return {member.key: member.value.data() for member in self.members}
        if self.kind is NodeKind.LIST:
            return [item.data() for item in self.items]
        return self.value

    def at(self, path: Iterable[str | int]) -> Node | None:
        """What keys, and positions in lists, lead to."""
        node: Node | None = self
        for step in path:
            if node is None:
                return None
            if isinstance(step, int):
                node = node.items[step] if step < len(node.items) else None
            else:
                member = node.member(step) if node.kind is NodeKind.MAP else None
                node = member.value if member else None
        return node

    def walk(self) -> Iterator[Node]:
        """This and all below it."""
        yield self
        for member in self.members:
            yield from member.value.walk()
        for item in self.items:
            yield from item.walk()


@dataclass(slots=True, eq=False)
class Member:
    """One key of a map, and its value.

    Attributes:
        key: as it is read, without quotes and escapes.
        start: where the key begins.
        end: where the value ends.
        value: what it leads to.
        comma: where the comma after it stands, if there is one.
    """

    key: str
    start: int
    end: int
    value: Node
    comma: int | None = None


class Syntax(Protocol):
    """One format: how it is read, checked, written and edited."""

    def read(self, text: str) -> Node:
        """The tree of a text.

        Raises:
            UnreadableError: it is none of this format.
        """

    def judged(self, text: str) -> Value:
        """All that a text says, read by a parser of others that knows no places.

        It is what `read(text).data()` is, or one of the two is wrong.

        Raises:
            UnreadableError: that parser refuses it.
        """

    def literal(self, value: Value) -> str:
        """A value as it is written on one line."""

    def pairs(self, node: Node, member: Member, text: str, new: Mapping[str, Value]) -> str:
        """New members, as they are written in the place of one of a map."""

    def insert(
        self, node: Node, after: Member | None, text: str, new: Mapping[str, Value]
    ) -> list[Edit]:
        """Put new members after one of a map, or first of all."""

    def remove(self, node: Node, gone: Sequence[Member], text: str) -> list[Edit]:
        """Take members out of a map."""

    def prepend(self, node: Node, text: str, new: Sequence[Value]) -> list[Edit]:
        """Put new items before those of a list."""


def applied(text: str, edits: Iterable[Edit]) -> str:
    """A text with all edits done; those at one place in their order.

    Raises:
        UneditableError: two of them overlap.
    """
    parts: list[str] = []
    position = 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        if edit.start < position:
            raise UneditableError("two changes meet in one place.")
        parts += (text[position : edit.start], edit.text)
        position = edit.end
    return "".join((*parts, text[position:]))


class Lines:
    """The lines of a text, for whoever asks for many: `line_of` reads all that stands before."""

    def __init__(self, text: str) -> None:
        self._ends = array("Q", (found.start() for found in re.finditer("\n", text)))

    def of(self, position: int) -> int:
        """The line of a position, from 1."""
        return bisect_left(self._ends, position) + 1


def line_of(text: str, position: int) -> int:
    """The line of a position, from 1."""
    return text.count("\n", 0, position) + 1


def line_start(text: str, position: int) -> int:
    """Where the line of a position begins."""
    return text.rfind("\n", 0, position) + 1


def line_end(text: str, position: int) -> int:
    """Where the line of a position ends, before its line break."""
    end = text.find("\n", position)
    if end < 0:
        return len(text)
    return end - 1 if end > position and text[end - 1] == "\r" else end


def next_line(text: str, position: int) -> int:
    """Where the line after that of a position begins, or the text's end."""
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1


def whole_lines(text: str, start: int, end: int) -> Span:
    """The lines of a part of a text, with the line break before them; at the very top after."""
    begin = line_start(text, start)
    if begin == 0:
        return Span(0, next_line(text, end))
    begin -= 2 if text[begin - 2 : begin] == "\r\n" else 1
    return Span(begin, line_end(text, end))


def without_lines(text: str, node: Node, gone: Sequence[Member]) -> list[Edit]:
    """Take members out of a map that is written in lines; none of them its first in the text.

    Those at its end go with the empty lines and comments that would else stand after it.
    """
    kept = [span for member in node.members if member not in gone for span in _places(member)]
    last = max((span.start for span in kept), default=0)
    tail = [member for member in gone if member.start > last]
    edits = [
        Edit(lines.start, lines.end, "")
        for lines in (whole_lines(text, m.start, m.end) for m in gone if m not in tail)
    ]
    if not tail:
        return edits
    end = line_end(text, max(member.end for member in tail))
    start = whole_lines(text, min(member.start for member in tail), end).start
    if kept:
        start = min(start, line_end(text, max(span.end for span in kept)))
    return [*edits, Edit(start, end, "")]


def _places(member: Member) -> Sequence[Span]:
    return member.value.regions or [Span(member.start, member.end)]


def newline(text: str) -> str:
    """The line break that a text uses."""
    first = text.find("\n")
    return "\r\n" if first > 0 and text[first - 1] == "\r" else "\n"


def quoted(text: str) -> str:
    r"""A text between double quotes, as JSON, TOML and YAML all read it.

    What is printable stays as it is. A lone surrogate, which only JSON can say, stays an escape.
    """
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(c) or (c if _plain(c) else _escape(c)) for c in text) + '"'


def _plain(character: str) -> bool:
    return character.isprintable() and character != "\ufeff"


def _escape(character: str) -> str:
    # Beyond the basic plane nothing that is not printable has a reason to be in a configuration,
    # and no escape is common to the three formats: it is written as it is.
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else character
