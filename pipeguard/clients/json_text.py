"""JSON, and JSON with comments and trailing commas, as a tree of places; and edits in it.

Strict otherwise (RFC 8259): no single quotes, bare keys, NaN or missing commas. What a text says
is judged by the standard library's parser, on the text with its comments blanked out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

from pipeguard.clients.tree import (
    MOST_DEPTH,
    Edit,
    Member,
    Node,
    NodeKind,
    UnreadableError,
    Value,
    line_of,
    line_start,
    next_line,
    quoted,
)

_BLANK = re.compile(r"[ \t\r\n]*")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_STRING = re.compile(r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"')
_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")
_WORD = re.compile(r"[\w.+-]*")
# What a value that is nested too deeply is passed over by: a text, a comment, or a bracket.
_PASSED = re.compile(
    r'"(?:[^"\\]|\\.)*+"|//[^\n]*|/\*.*?\*/|[^][{}"/]++|[\[{]++|[\]}]++|/', re.DOTALL
)
MOST_PARTS = 1_000_000  # values and comments of one text; nobody's file of megabytes has as many
MOST_DIGITS = 4000  # of an integer; Python reads 4,300 and no more


class Json:
    """The format.

    Args:
        comments: the client takes comments.
        trailing_commas: the client takes a comma before a closing bracket.
    """

    def __init__(self, *, comments: bool = True, trailing_commas: bool = True) -> None:
        self._comments = comments
        self._trailing_commas = trailing_commas

    def read(self, text: str) -> Node:
        """As in Syntax."""
        return self._reader(text).document()

    def glimpsed(self, text: str) -> Node:
        """The tree of a text that only a client less strict than this one reads.

        With comments, trailing commas and values nested to any depth; the deepest are left out.

        Raises:
            UnreadableError: it is no JSON in any client's eyes that reads it strictly.
        """
        return _Reader(text, comments=True, trailing_commas=True, cuts=True).document()

    def judged(self, text: str) -> Value:
        """As in Syntax: by the standard library, on the text without what only JSONC has."""
        reader = self._reader(text)
        reader.document()
        parts: list[str] = []
        position = 0
        for start, end in sorted(reader.extras):
            parts += (text[position:start], " ")
            position = end
        plain = "".join((*parts, text[position:]))
        try:
            found: Value = json.loads(plain, parse_int=_integer) if plain.strip() else {}
        except ValueError as error:
            raise UnreadableError(f"it is not valid JSON: {error}.") from None
        return found

    def literal(self, value: Value) -> str:
        """As in Syntax."""
        if isinstance(value, str):
            return quoted(value)
        if isinstance(value, Mapping):
            inner = (f"{quoted(key)}: {self.literal(item)}" for key, item in value.items())
            return "{" + ", ".join(inner) + "}"
        if isinstance(value, Sequence):
            return "[" + ", ".join(map(self.literal, value)) + "]"
        return json.dumps(value)

    def pairs(self, node: Node, member: Member, text: str, new: Mapping[str, Value]) -> str:
        """As in Syntax."""
        return f",{_gap(text, member)}".join(self._written(new, text, member))

    def insert(
        self, node: Node, after: Member | None, text: str, new: Mapping[str, Value]
    ) -> list[Edit]:
        """As in Syntax."""
        if after is None:
            written = ", ".join(self._written(new, text, None))
            comma = ", " if node.members else ""
            return [Edit(node.start + 1, node.start + 1, written + comma)]
        gap = _gap(text, after)
        written = "".join(f",{gap}{pair}" for pair in self._written(new, text, after))
        return [Edit(after.end, after.end, written)]

    def remove(self, node: Node, gone: Sequence[Member], text: str) -> list[Edit]:
        """As in Syntax: each member with one comma, and its line where nothing else is on it."""
        edits = []
        kept = [member not in gone for member in node.members]
        for index, member in enumerate(node.members):
            if kept[index]:
                continue
            end = member.end
            last = not any(kept[index:])
            if member.comma is not None and not (last and node.members[-1].comma is None):
                edits += _cut(text, member.start, end, member.comma)
            elif last and any(kept):
                comma = node.members[index - 1].comma
                edits += _cut(text, member.start, end, comma)
            else:
                edits += _cut(text, member.start, end, member.comma)
        return edits

    def prepend(self, node: Node, text: str, new: Sequence[Value]) -> list[Edit]:
        """As in Syntax: as the list is written, on one line or each item on its own."""
        return [in_brackets(node, text, [self.literal(item) for item in new])]

    def _written(self, new: Mapping[str, Value], text: str, like: Member | None) -> list[str]:
        colon = _colon(text, like) if like else ": "
        return [f"{quoted(key)}{colon}{self.literal(value)}" for key, value in new.items()]

    def _reader(self, text: str) -> _Reader:
        return _Reader(text, comments=self._comments, trailing_commas=self._trailing_commas)


def in_brackets(node: Node, text: str, items: Sequence[str]) -> Edit:
    """Put items, written already, first into a list that stands in brackets."""
    start = node.start + 1
    if not node.items:
        return Edit(start, start, ", ".join(items))
    first = node.items[0].start
    begin = line_start(text, first)
    if begin > start and not text[begin:first].strip():  # each on a line of its own
        gap = ("\r\n" if text[begin - 2 : begin] == "\r\n" else "\n") + text[begin:first]
        return Edit(first, first, "".join(f"{item},{gap}" for item in items))
    return Edit(first, first, "".join(f"{item}, " for item in items))


def _cut(text: str, start: int, end: int, comma: int | None) -> list[Edit]:
    """Take out a member and one comma, which stands after it or before it."""
    if comma is None:
        return [_whole_line(text, start, end)]
    if comma < start:
        return [Edit(comma, comma + 1, ""), _whole_line(text, start, end)]
    if not text[end:comma].strip():
        return [_whole_line(text, start, comma + 1)]
    return [Edit(start, end, ""), Edit(comma, comma + 1, "")]  # a comment stands between


def _whole_line(text: str, start: int, end: int) -> Edit:
    """A removal, of the whole line or lines where nothing else stands on them."""
    begin, after = line_start(text, start), next_line(text, end)
    if not text[begin:start].strip() and not text[end:after].strip() and after > end:
        return Edit(begin, after, "")
    blanks = len(text[end:after]) - len(text[end:after].lstrip(" \t"))
    return Edit(start, end + blanks, "")


def _gap(text: str, member: Member) -> str:
    """What parts a member from a comma before it; of the first, what parts it from the next."""
    stripped = len(text[: member.start].rstrip(" \t\r\n"))
    gap = text[stripped : member.start]
    before = text[stripped - 1 : stripped]
    if before == "," or (before == "{" and "\n" in gap):
        return gap
    if before == "{":
        after = _BLANK.match(text, member.comma + 1) if member.comma is not None else None
        if after and text.startswith('"', after.end()):
            return after[0]
        return "" if _colon(text, member) == ":" else " "
    begin = line_start(text, member.start)
    if not text[begin : member.start].strip():  # a comment stands above it
        return ("\r\n" if text[begin - 2 : begin] == "\r\n" else "\n") + text[begin : member.start]
    return " "


def _colon(text: str, member: Member) -> str:
    """How key and value of a member are parted."""
    between = text[member.start : member.value.start]
    found = re.search(r"\"([ \t]*:[ \t]*)\Z", between)
    return found[1] if found else ": "


def _scalar(token: str) -> Value:
    value: Value = json.loads(token, parse_int=_integer)
    return value


def _integer(digits: str) -> int | float:
    """An integer; one of thousands of digits as JavaScript reads it, which knows no other."""
    return int(digits) if len(digits) <= MOST_DIGITS else float(digits)


class _Reader:
    """One pass over a text.

    Attributes:
        extras: where comments and trailing commas stand.
    """

    def __init__(
        self, text: str, *, comments: bool, trailing_commas: bool, cuts: bool = False
    ) -> None:
        self.extras: list[tuple[int, int]] = []
        self._text = text
        self._position = 0
        self._comments = comments
        self._trailing_commas = trailing_commas
        self._cuts = cuts
        self._left = MOST_PARTS

    def document(self) -> Node:
        self._skip()
        if self._position == len(self._text):  # nothing, or only comments: no server either
            return Node(NodeKind.MAP, 0, len(self._text))
        node = self._value(0)
        self._skip()
        if self._position < len(self._text):
            self._wrong("something stands after the end")
        return node

    def _value(self, depth: int) -> Node:
        self._count()
        if depth > MOST_DEPTH:
            return self._passed_over()
        character = self._text[self._position : self._position + 1]
        if character == "{":
            return self._map(depth)
        if character == "[":
            return self._list(depth)
        start = self._position
        if character == '"':
            value = self._string()
            return Node(NodeKind.TEXT, start, self._position, value)
        token = _SCALAR.match(self._text, start)
        word = _WORD.match(self._text, start)
        if not token or not word or token.end() < word.end():
            self._wrong("a value is missing or wrong")
        self._position = token.end()
        return Node(NodeKind.OTHER, start, self._position, _scalar(token[0]))

    def _passed_over(self) -> Node:
        """A value that is nested too deeply, without what is in it."""
        if not self._cuts:
            self._wrong("it is nested too deeply")
        start, depth = self._position, 0
        while (found := _PASSED.match(self._text, self._position)) is not None:
            count = len(found[0]) if found[0][0] in "[]{}" else 0
            if found[0][0] in "]}" and count >= depth:
                self._position += depth
                break  # where it ends; or, of no list and no map, where the one around it does
            self._position = found.end()
            depth += -count if found[0][0] in "]}" else count
        return Node(NodeKind.OTHER, start, self._position)

    def _map(self, depth: int) -> Node:
        node = Node(NodeKind.MAP, self._position, 0)
        self._position += 1
        while True:
            self._skip()
            if self._take("}"):
                break
            if node.members and node.members[-1].comma is None:
                self._wrong("a comma is missing")
            start = self._position
            key = self._string()
            self._skip()
            if not self._take(":"):
                self._wrong("a colon is missing")
            self._skip()
            value = self._value(depth + 1)
            self._skip()
            comma = self._comma()
            node.members.append(Member(key, start, value.end, value, comma))
        self._trailing(node.members[-1].comma if node.members else None)
        node.end = self._position
        return node

    def _list(self, depth: int) -> Node:
        node = Node(NodeKind.LIST, self._position, 0)
        comma: int | None = None
        self._position += 1
        while True:
            self._skip()
            if self._take("]"):
                break
            if node.items and comma is None:
                self._wrong("a comma is missing")
            node.items.append(self._value(depth + 1))
            self._skip()
            comma = self._comma()
        self._trailing(comma)
        node.end = self._position
        return node

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            self._wrong(f"it holds more than {MOST_PARTS:,} values and comments")

    def _string(self) -> str:
        found = _STRING.match(self._text, self._position)
        if not found:
            self._wrong(
                "a text is not closed, or holds what must be escaped"
                if self._text[self._position : self._position + 1] == '"'
                else "a key in double quotes is missing"
            )
        self._position = found.end()
        text = json.loads(found[0])
        assert isinstance(text, str)  # noqa: S101  the expression takes nothing else
        return text

    def _take(self, character: str) -> bool:
        if self._text.startswith(character, self._position):
            self._position += 1
            return True
        return False

    def _comma(self) -> int | None:
        """Take a comma if one stands here, and say where."""
        position = self._position
        return position if self._take(",") else None

    def _trailing(self, comma: int | None) -> None:
        if comma is None:
            return
        if not self._trailing_commas:
            self._wrong("a comma stands before a closing bracket, which this client refuses", comma)
        self.extras.append((comma, comma + 1))

    def _skip(self) -> None:
        while True:
            blank = _BLANK.match(self._text, self._position)
            self._position = blank.end() if blank else self._position
            comment = _COMMENT.match(self._text, self._position)
            if not comment:
                return
            if not self._comments:
                self._wrong("a comment stands there, which this client refuses")
            self._count()
            self.extras.append(comment.span())
            self._position = comment.end()

    def _wrong(self, what: str, position: int | None = None) -> NoReturn:
        at = self._position if position is None else position
        column = at - line_start(self._text, at) + 1
        raise UnreadableError(f"line {line_of(self._text, at)}, column {column}: {what}.")
