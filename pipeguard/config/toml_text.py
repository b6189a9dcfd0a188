"""TOML as a tree with positions; and edits in it, by statements.

The scan finds the positions of keys, values and headers (TOML 1.0, the ABNF). The independent
parser is `tomllib`, and edits compare the two, so that a wrong scan is a refusal and no damage.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NoReturn

from pipeguard.config.json_text import Json
from pipeguard.config.tree import (
    MOST_DEPTH,
    Cursor,
    Edit,
    Edits,
    Member,
    Node,
    NodeKind,
    Span,
    Style,
    UneditableError,
    UnreadableError,
    Value,
    find_line,
    line_end,
    line_start,
    newline,
    quote,
    whole_lines,
    without_lines,
)

_SPACE = re.compile(r"[ \t]*")
_LINES = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")'
    r"|'''.*?'{3,5}(?!')"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_DATE_WITH_SPACE = re.compile(r"\d{4}-\d\d-\d\d \d\d:[^\s,\]}#]*")
_BARE = re.compile(r"[^\s,\]}#]+")
# A dotted key with too many parts: tomllib's time and memory grow with the square of their number.
_LONG_KEY = re.compile(
    r"(?<![\w-])(?:(?:[A-Za-z0-9_-]++|\"[^\"\n]*+\"|'[^'\n]*+')[ \t]*+\.[ \t]*+)"
    rf"{{{MOST_DEPTH}}}"
)


class Toml(Json):
    """TOML, whose inline values are edited as JSON's are."""

    def read(self, text: str) -> Node:
        """Implement `Syntax`."""
        self.independent_data(text)  # its errors say more, and the scan relies on a valid text
        return _Scan(text).document()

    def independent_data(self, text: str) -> Value:
        """Implement `Syntax`; numbers with a fraction and dates as texts."""
        if long := _LONG_KEY.search(text):
            line = find_line(text, long.start())
            raise UnreadableError(f"line {line}: a key has {MOST_DEPTH} parts or more.")
        try:
            data: Value = _without_dates(tomllib.loads(text, parse_float=str))
        except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
            raise UnreadableError(f"it is not valid TOML: {error}.") from None
        return data

    def literal(self, value: Value) -> str:
        """Implement `Syntax`."""
        if isinstance(value, Mapping):
            inner = (f"{write_key(key)} = {self.literal(item)}" for key, item in value.items())
            return "{ " + ", ".join(inner) + " }" if value else "{}"
        if isinstance(value, Sequence) and not isinstance(value, str):
            return "[" + ", ".join(map(self.literal, value)) + "]"
        return super().literal(value).replace("\x7f", "\\u007f")

    def pairs(self, node: Node, member: Member, text: str, new: Mapping[str, Value]) -> str:
        """Implement `Syntax`."""
        pairs = [f"{write_key(key)} = {self.literal(value)}" for key, value in new.items()]
        if node.style is Style.BRACKETS:
            return ", ".join(pairs)
        if member.value.regions:
            raise UneditableError("a line cannot be added inside a separate table.")
        indent = text[line_start(text, member.start) : member.start]
        return f"{newline(text)}{indent}{node.prefix}".join((node.prefix + pairs[0], *pairs[1:]))

    def insert(
        self, node: Node, after: Member | None, text: str, new: Mapping[str, Value]
    ) -> Edits:
        """Implement `Syntax`."""
        pairs = [f"{write_key(key)} = {self.literal(value)}" for key, value in new.items()]
        if node.style is Style.BRACKETS:
            if after:
                return [Edit(after.end, after.end, "".join(f", {pair}" for pair in pairs))]
            comma = ", " if node.members else " "
            return [Edit(node.start + 1, node.start + 1, " " + ", ".join(pairs) + comma)]
        lines = [member for member in node.members if not member.value.regions]
        if after is None or after.value.regions:
            after = lines[-1] if lines else None
        if after is None:  # the table has no lines yet
            if not node.regions:
                raise UneditableError("it has no header of its own.")
            end = line_end(text, node.regions[0].start)
            return [Edit(end, end, "".join(f"{newline(text)}{pair}" for pair in pairs))]
        indent = text[line_start(text, after.start) : after.start]
        end = line_end(text, after.end)
        added = "".join(f"{newline(text)}{indent}{node.prefix}{pair}" for pair in pairs)
        return [Edit(end, end, added)]

    def remove(self, node: Node, gone: Sequence[Member], text: str) -> Edits:
        """Implement `Syntax`: whole lines, and whole tables with their headers."""
        if node.style is Style.BRACKETS:
            return super().remove(node, gone, text)
        tables = [span for member in gone for span in member.value.regions]
        lines = [member for member in gone if not member.value.regions]
        edits = [_without_table(node, span, text) for span in tables]
        return edits + without_lines(text, node, lines)


def _without_table(node: Node, span: Span, text: str) -> Edit:
    """Remove a table, and the text between it and the rest of its entry if that is comments."""
    before = [region.end for region in node.regions if region.end <= span.start]
    end = line_end(text, span.end)
    if before and _LINES.fullmatch(text, max(before), span.start):
        return Edit(line_end(text, max(before)), end, "")
    lines = whole_lines(text, span.start, span.end)
    return Edit(lines.start, lines.end, "")


def write_key(key: str) -> str:
    """A key, quoted if it must be."""
    return key if _BARE_KEY.fullmatch(key) else quote(key).replace("\x7f", "\\u007f")


def _without_dates(value: object) -> Value:
    if isinstance(value, dict):
        return {key: _without_dates(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_dates(item) for item in value]
    return value if isinstance(value, str | int | bool) else str(value)


class _Scan(Cursor):
    """One pass over a text that `tomllib` accepts."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._open: list[list[Span]] = []  # the regions of the tables that a statement extends

    def document(self) -> Node:
        root = Node(NodeKind.MAP, 0, len(self.text), style=Style.LINES)
        table = root
        self.match(_LINES)
        while self.position < len(self.text):
            if self.text.startswith("[", self.position):
                table = self._header(root)
            else:
                self._statement(table)
            self.match(_LINES)
        return root

    def _header(self, root: Node) -> Node:
        start = self.position
        brackets = 2 if self.text.startswith("[[", start) else 1
        self.position += brackets
        keys = self._keys()
        self.position += brackets
        node = root
        span = Span(start, self.position)
        self._open = []
        for index, (key, key_start) in enumerate(keys):
            last = index == len(keys) - 1
            member = node.member(key)
            if not member:
                kind = NodeKind.LIST if last and brackets == 2 else NodeKind.MAP
                member = Member(key, key_start, span.end, Node(kind, start, span.end))
                member.value.style = Style.LINES
                node.members.append(member)
            node = member.value
            if node.kind is NodeKind.LIST:
                if last:
                    node.items.append(Node(NodeKind.MAP, start, span.end, style=Style.LINES))
                self._open.append(node.regions)
                node = node.items[-1]
            self._open.append(node.regions)
        for regions in self._open:
            regions.append(span)
        return node

    def _statement(self, table: Node) -> None:
        start = self.position
        keys = self._keys()
        self.match(_SPACE)
        self.position += 1  # the equals sign
        self.match(_SPACE)
        value = self._value(0)
        span = Span(start, self.position)
        node = table
        prefix = ""
        for (key, key_start), (_, next_start) in pairwise(keys):
            prefix = self.text[start:next_start]
            member = node.member(key)
            if not member:
                inner = Node(NodeKind.MAP, start, span.end, style=Style.LINES, prefix=prefix)
                member = Member(key, key_start, span.end, inner)
                node.members.append(member)
            node = member.value
            node.regions.append(span)
        # A member spans the whole statement, so that its prefix is removed or replaced with it.
        node.members.append(Member(keys[-1][0], start, span.end, value))
        for regions in self._open:
            regions[-1] = Span(regions[-1].start, span.end)

    def _keys(self) -> list[tuple[str, int]]:
        keys = []
        while True:
            self.match(_SPACE)
            start = self.position
            match = self.match(_STRING) or self.match(_BARE_KEY)
            if not match:
                self._wrong()
            is_quoted = match[0][0] in "\"'"
            keys.append((str(_scalar(match[0])) if is_quoted else match[0], start))
            self.match(_SPACE)
            if not self.take("."):
                return keys

    def _value(self, depth: int) -> Node:
        if depth > MOST_DEPTH:
            self._wrong()
        start = self.position
        if self.take("["):
            return self._array(start, depth)
        if self.take("{"):
            return self._table(start, depth)
        match = self.match(_STRING) or self.match(_DATE_WITH_SPACE) or self.match(_BARE)
        if not match:
            self._wrong()
        kind = NodeKind.TEXT if match[0][0] in "\"'" else NodeKind.OTHER
        return Node(kind, start, self.position, _scalar(match[0]))

    def _array(self, start: int, depth: int) -> Node:
        node = Node(NodeKind.LIST, start, 0)
        self.match(_LINES)
        while not self.take("]"):
            node.items.append(self._value(depth + 1))
            self.match(_LINES)
            if self.take(","):
                self.match(_LINES)
        node.end = self.position
        return node

    def _table(self, opened: int, depth: int) -> Node:
        node = Node(NodeKind.MAP, opened, 0)
        self.match(_LINES)
        while not self.take("}"):
            start = self.position
            keys = self._keys()
            self.position += 1  # the equals sign
            self.match(_SPACE)
            value = self._value(depth + 1)
            inner = node
            for key, _ in keys[:-1]:
                member = inner.member(key)
                if not member:
                    # A table with dotted keys inside braces is never edited.
                    member = Member(key, start, value.end, Node(NodeKind.MAP, start, value.end))
                    member.value.shared = True
                    node.shared = True
                    inner.members.append(member)
                inner = member.value
            last = Member(keys[-1][0], start, value.end, value)
            inner.members.append(last)
            self.match(_LINES)
            comma = self.position
            if self.take(","):
                last.comma = comma
                self.match(_LINES)
        node.end = self.position
        return node

    def _wrong(self) -> NoReturn:
        line = find_line(self.text, self.position)
        raise UnreadableError(f"line {line}: it is written in a way that is not understood.")


def _scalar(token: str) -> Value:
    return _without_dates(tomllib.loads(f"v = {token}", parse_float=str)["v"])
