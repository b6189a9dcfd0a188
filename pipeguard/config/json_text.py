"""JSON, and JSON with comments and trailing commas, as a tree with positions; and edits in it.

Strict otherwise (RFC 8259): no single quotes, bare keys, NaN or missing commas. The independent
parser is the standard library's, on the text without its comments.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NoReturn

from pipeguard.config.tree import (
    MOST_DEPTH,
    Cursor,
    Edit,
    Edits,
    Member,
    Node,
    NodeKind,
    UnreadableError,
    Value,
    apply_edits,
    find_line,
    line_start,
    next_line,
    quote,
)

_BLANK = re.compile(r"[ \t\r\n]*")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_SKIPPED_FIRST = frozenset(" \t\r\n/")
_STRING = re.compile(
    r'"[^"\\\x00-\x1f]*+'
    r'(?>(?>(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+){1,500})*)"'
)
_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")
_WORD = re.compile(r"[\w.+-]*")
# The tokens of a value that is nested too deeply, which is skipped: texts, comments, brackets.
_SKIPPED = re.compile(
    r'"(?>(?>(?:[^"\\]++|\\.){1,500})*)"|//[^\n]*|/\*.*?\*/|[^][{}"/]++|[\[{]++|[\]}]++|/',
    re.DOTALL,
)
MOST_PARTS = 1_000_000  # values and comments of one text; real files of megabytes have fewer
MOST_DIGITS = 4000  # of an integer; Python's limit is 4,300


class Json:
    """JSON, as one client reads it.

    Args:
        comments: the client accepts comments.
        trailing_commas: the client accepts a comma before a closing bracket.
    """

    def __init__(self, *, comments: bool = True, trailing_commas: bool = True) -> None:
        self._comments = comments
        self._trailing_commas = trailing_commas

    def read(self, text: str) -> Node:
        """Implement `Syntax`."""
        return self._document(text)[0]

    def read_leniently(self, text: str) -> Node:
        """The tree of a text that only a more lenient client reads.

        It may have comments, trailing commas and values nested to any depth; the deepest are left
        out.

        Raises:
            UnreadableError: it is invalid even so.
        """
        return _JsonReader(text, comments=True, trailing_commas=True, cuts=True).document()

    def independent_data(self, text: str) -> Value:
        """Parse as `Syntax` does: with the standard library, on the text as plain JSON."""
        _, extras = self._document(text)
        plain = apply_edits(text, (Edit(*extra, " ") for extra in extras))
        try:
            data: Value = json.loads(plain, parse_int=_integer) if plain.strip() else {}
        except ValueError as error:
            raise UnreadableError(f"it is not valid JSON: {error}.") from None
        return data

    def literal(self, value: Value) -> str:
        """Implement `Syntax`."""
        if isinstance(value, str):
            return quote(value)
        if isinstance(value, Mapping):
            inner = (f"{quote(key)}: {self.literal(item)}" for key, item in value.items())
            return "{" + ", ".join(inner) + "}"
        if isinstance(value, Sequence):
            return "[" + ", ".join(map(self.literal, value)) + "]"
        return json.dumps(value)

    def pairs(self, node: Node, member: Member, text: str, new: Mapping[str, Value]) -> str:
        """Implement `Syntax`."""
        return f",{leading_gap(text, member)}".join(self._pairs(new, text, member))

    def insert(
        self, node: Node, after: Member | None, text: str, new: Mapping[str, Value]
    ) -> Edits:
        """Implement `Syntax`."""
        if after is None:
            pairs = ", ".join(self._pairs(new, text, None))
            comma = ", " if node.members else ""
            return [Edit(node.start + 1, node.start + 1, pairs + comma)]
        gap = leading_gap(text, after)
        pairs = "".join(f",{gap}{pair}" for pair in self._pairs(new, text, after))
        return [Edit(after.end, after.end, pairs)]

    def remove(self, node: Node, gone: Sequence[Member], text: str) -> Edits:
        """Implement `Syntax`: each member with one comma, and its line if it becomes empty."""
        edits = []
        stays = [member not in gone for member in node.members]
        for index, member in enumerate(node.members):
            if stays[index]:
                continue
            before = node.members[index - 1].comma if index and stays[index - 1] else None
            if before is not None and node.members[-1].comma is None and not any(stays[index:]):
                is_beside = not text[before + 1 : member.start].strip(" \t")
                edits.append(Edit(before, member.start if is_beside else before + 1, ""))
            edits += _cut(text, member.start, member.end, member.comma)
        return edits

    def prepend(self, node: Node, text: str, new: Sequence[Value]) -> Edits:
        """Implement `Syntax`: in the list's layout, on one line or with a line for each item."""
        items = [self.literal(item) for item in new]
        start = node.start + 1
        if not node.items:
            return [Edit(start, start, ", ".join(items))]
        first = node.items[0].start
        begin = line_start(text, first)
        gap = " "
        if begin > start and not text[begin:first].strip():  # a line for each item
            gap = ("\r\n" if text[begin - 2 : begin] == "\r\n" else "\n") + text[begin:first]
        return [Edit(first, first, "".join(f"{item},{gap}" for item in items))]

    def _pairs(self, new: Mapping[str, Value], text: str, like: Member | None) -> list[str]:
        colon = _colon(text, like) if like else ": "
        return [f"{self.literal(key)}{colon}{self.literal(value)}" for key, value in new.items()]

    def _document(self, text: str) -> tuple[Node, list[tuple[int, int]]]:
        return _document(text, comments=self._comments, trailing_commas=self._trailing_commas)


@lru_cache(maxsize=2)  # undoing compares a file before and after, each several times
def _document(
    text: str, *, comments: bool, trailing_commas: bool
) -> tuple[Node, list[tuple[int, int]]]:
    """The tree of a text, not to be changed, and the ranges that JSON does not have."""
    reader = _JsonReader(text, comments=comments, trailing_commas=trailing_commas)
    return reader.document(), reader.extras


def _cut(text: str, start: int, end: int, comma: int | None) -> Edits:
    """Remove a member and the comma after it."""
    if comma is None:
        return [_whole_line(text, start, end)]
    if not text[end:comma].strip():
        return [_whole_line(text, start, comma + 1)]
    return [
        Edit(start, end, ""),
        Edit(comma, comma + 1, ""),
    ]  # a comment is between the two


def _whole_line(text: str, start: int, end: int) -> Edit:
    """The removal of a part, with its whole line or lines if they become empty."""
    begin = line_start(text, start)
    after = next_line(text, end)
    if not text[begin:start].strip() and not text[end:after].strip() and after > end:
        return Edit(begin, after, "")
    blanks = len(text[end:after]) - len(text[end:after].lstrip(" \t"))
    return Edit(start, end + blanks, "")


def leading_gap(text: str, member: Member) -> str:
    """The space between a member and the comma before it; for the first, before the next one."""
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
    if not text[begin : member.start].strip():  # a comment is above it
        return ("\r\n" if text[begin - 2 : begin] == "\r\n" else "\n") + text[begin : member.start]
    return " "


def _colon(text: str, member: Member) -> str:
    """The colon between a member's key and value, with the space around it."""
    between = text[member.start : member.value.start]
    match = re.search(r"\"([ \t]*:[ \t]*)\Z", between)
    return match[1] if match else ": "


def _scalar(token: str) -> Value:
    value: Value = json.loads(token, parse_int=_integer)
    return value


def _integer(digits: str) -> int | float:
    """An integer; with thousands of digits a float, which is JavaScript's only number."""
    return int(digits) if len(digits) <= MOST_DIGITS else float(digits)


class _JsonReader(Cursor):
    """One pass over a text.

    Attributes:
        extras: the positions of comments and trailing commas.
    """

    def __init__(
        self, text: str, *, comments: bool, trailing_commas: bool, cuts: bool = False
    ) -> None:
        super().__init__(text)
        self.extras: list[tuple[int, int]] = []
        self._comments = comments
        self._trailing_commas = trailing_commas
        self._cuts = cuts
        self._left = MOST_PARTS
        self._open: list[int] = []  # positions of brackets

    def document(self) -> Node:
        self._skip()
        if self.position == len(self.text):  # nothing, or only comments: no servers
            return Node(NodeKind.MAP, 0, len(self.text))
        node = self._value(0)
        self._skip()
        if self.position < len(self.text):
            self._wrong("there is text after the end")
        return node

    def _value(self, depth: int) -> Node:
        self._count()
        if depth > MOST_DEPTH:
            return self._skipped_value()
        start = self.position
        if self.take("{"):
            return self._container(NodeKind.MAP, start, "}", depth)
        if self.take("["):
            return self._container(NodeKind.LIST, start, "]", depth)
        if self.text.startswith('"', start):
            value = self._string()
            return Node(NodeKind.TEXT, start, self.position, value)
        token = _SCALAR.match(self.text, start)
        word = _WORD.match(self.text, start)
        if not token or not word or token.end() < word.end():
            self._wrong("a value is missing or invalid")
        self.position = token.end()
        return Node(NodeKind.OTHER, start, self.position, _scalar(token[0]))

    def _skipped_value(self) -> Node:
        """A value that is nested too deeply, without its contents."""
        if not self._cuts:
            self._wrong("it is nested too deeply")
        start = self.position
        depth = 0
        while token := _SKIPPED.match(self.text, self.position):
            count = len(token[0]) if token[0][0] in "[]{}" else 0
            if token[0][0] in "]}" and count >= depth:
                self.position += depth
                break  # the end of this list or map, or for a scalar of the one around it
            self.position = token.end()
            depth += -count if token[0][0] in "]}" else count
        return Node(NodeKind.OTHER, start, self.position)

    def _container(self, kind: NodeKind, start: int, closing: str, depth: int) -> Node:
        node = Node(kind, start, 0)
        comma = None
        self._open.append(start)
        while True:
            self._skip()
            if self.take(closing):
                break
            if comma is None and (node.members or node.items):
                self._wrong("a comma is missing")
            start = self.position
            key = ""
            if kind is NodeKind.MAP:
                key = self._string()
                self._skip()
                if not self.take(":"):
                    self._wrong("a colon is missing")
                self._skip()
            value = self._value(depth + 1)
            self._skip()
            position = self.position
            comma = position if self.take(",") else None
            if kind is NodeKind.MAP:
                node.members.append(Member(key, start, value.end, value, comma))
            else:
                node.items.append(value)
        if comma is not None and not self._trailing_commas:
            self._wrong(
                "there is a comma before a closing bracket, which this client refuses", comma
            )
        self.extras += () if comma is None else [(comma, comma + 1)]
        self._open.pop()
        node.end = self.position
        return node

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            self._wrong(f"it has more than {MOST_PARTS:,} values and comments")

    def _string(self) -> str:
        match = self.match(_STRING)
        if not match:
            self._wrong(
                "a text is not closed, or has an unescaped control character"
                if self.text.startswith('"', self.position)
                else "a key in double quotes is missing"
            )
        if "\\" not in match[0]:
            return match[0][1:-1]
        text = json.loads(match[0])
        assert isinstance(text, str)  # noqa: S101  the expression matches nothing else
        return text

    def _skip(self) -> None:
        while self.text[self.position : self.position + 1] in _SKIPPED_FIRST:
            self.match(_BLANK)
            comment = self.match(_COMMENT)
            if not comment:
                return
            if not self._comments:
                self._wrong("there is a comment, which this client refuses", comment.start())
            self._count()
            self.extras.append(comment.span())

    def _wrong(self, what: str, position: int | None = None) -> NoReturn:
        at = self.position if position is None else position
        if is_cut := at == len(self.text) and bool(self._open):
            at = self._open[-1]
        column = at - line_start(self.text, at) + 1
        place = f"line {find_line(self.text, at)}, column {column}"
        if not is_cut:
            raise UnreadableError(f"{place}: {what}.")
        brackets = "1 bracket is" if len(self._open) == 1 else f"{len(self._open)} brackets are"
        raise UnreadableError(
            f"the file ends before it is complete: {brackets} open, the last one from {place}."
        )
