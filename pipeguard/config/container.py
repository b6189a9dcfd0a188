"""A map or a list of entries in a file's text: removes entries and inserts texts.

Knows positions, commas and lines, not the meaning of an entry. The caller proves the result.
"""

import re
from collections.abc import Callable, Sequence
from functools import cached_property

from pipeguard.config.json_text import Json, leading_gap
from pipeguard.config.toml_text import Toml, write_key
from pipeguard.config.tree import (
    Edit,
    Edits,
    Member,
    Node,
    NodeKind,
    Span,
    Style,
    Syntax,
    UneditableError,
    Value,
    apply_edits,
    line_end,
    line_start,
    newline,
    next_line,
    regions,
)

_TO_COMMA = re.compile(r"(?:\s|//[^\n]*|/\*.*?\*/|#[^\n]*)*,", re.DOTALL)
_BEFORE_ENTRY = re.compile(r"[ \t]*(?:-[ \t]+)?")


def with_items(
    text: str,
    syntax: Syntax,
    path: tuple[str | int, ...],
    flow: Sequence[str],
    block: Callable[[str], str],
) -> str:
    """A YAML text with items at the end of a list, or at the end of the text without a list.

    Args:
        text: the whole text.
        syntax: its format.
        path: the keys that lead to the list.
        flow: the items, each for a list in brackets.
        block: the same as lines, behind an indentation.

    Raises:
        UneditableError: the list is written in a way that cannot be edited.
        UnreadableError: the text is not valid.
    """
    line_break = newline(text)
    node = syntax.read(text).at(path)
    if node is None or node.kind is not NodeKind.LIST:
        start = "\n" if text and not text.endswith("\n") else ""
        return text + f"{start}{path[-1]}:\n{block('')}".replace("\n", line_break)
    container = Container(text, syntax, path)
    if container.is_in_brackets:
        return container.replace_entries([], flow)
    lines = block(" " * (node.start - line_start(text, node.start))).removesuffix("\n")
    return container.replace_entries([], [lines.replace("\n", line_break)])


class Container:
    """The servers at a path of a text.

    Args:
        text: the whole text.
        syntax: its format.
        path: the keys that lead to the map or list.

    Raises:
        UneditableError: the map or list is missing, or shares parts with others.
    """

    def __init__(self, text: str, syntax: Syntax, path: tuple[str | int, ...]) -> None:
        self.text = text
        self.path = path
        self._syntax = syntax
        self._tree = syntax.read(text)
        node = self._tree.at(path)
        if node is None or node.kind not in (NodeKind.MAP, NodeKind.LIST) or node.shared:
            raise UneditableError("its servers are written in a way that cannot be edited.")
        self.node = node

    @property
    def is_in_brackets(self) -> bool:
        """True if it is written in brackets; otherwise by lines."""
        return self.node.style is Style.BRACKETS

    @cached_property
    def _members(self) -> dict[str | int, Member]:
        """Its entries by key or position; of repeated keys, the last."""
        if self.node.kind is NodeKind.MAP:
            return {member.key: member for member in self.node.members}
        return {
            index: Member("", item.start, item.end, item, self._find_comma(item))
            for index, item in enumerate(self.node.items)
        }

    def pieces(self, key: str | int) -> tuple[str, ...]:
        """An entry's text with its key: one piece for each of its positions."""
        return tuple(span.of(self.text) for span in self._spans(key))

    def replace_entries(self, gone: Sequence[str | int], new: Sequence[str]) -> str:
        """The whole text, with new entries in the place of the first removed one.

        Args:
            gone: the entries to remove; none to add the new ones at the end.
            new: texts of entries, in the form that `pieces` has.

        Raises:
            UneditableError: that is not possible.
        """
        if not gone:
            return apply_edits(self.text, [self._add(new)])
        ordered = sorted(gone, key=lambda key: self._spans(key)[0].start)
        return apply_edits(
            self.text,
            self._exchanged_in_brackets(ordered, new)
            if self.is_in_brackets
            else self._exchanged_lines(ordered, new),
        )

    def addition(self, piece: str) -> tuple[int, str]:
        """The position of a new entry after all others, and its text with the separators."""
        edit = self._add([piece])
        return edit.start, edit.text

    def format_entry(self, name: str, named: str, fields: dict[str, Value]) -> str:
        """The text of a new entry, on one line if the format allows it.

        Args:
            name: its name.
            named: the key of the name in a list; empty in a map.
            fields: its fields.
        """
        if self.node.kind is NodeKind.LIST:
            fields = {named: name, **fields}
        if isinstance(self._syntax, Toml) and not self.is_in_brackets:
            return self._written_as_toml(self._syntax, name, fields)
        if self.node.kind is NodeKind.LIST:
            literal = self._syntax.literal(fields)
            return literal if self.is_in_brackets else self._start_of_line() + literal
        first = next(iter(self._members.values()), None)
        if first is None:
            first = Member("", self.node.start, self.node.start, self.node)
        pair = self._syntax.pairs(self.node, first, self.text, {name: fields})
        return pair if self.is_in_brackets else self._start_of_line() + pair

    def _written_as_toml(self, toml: Toml, name: str, fields: dict[str, Value]) -> str:
        is_list = self.node.kind is NodeKind.LIST
        entries = list(self._members)
        first = self.pieces(entries[0])[0] if entries else "["
        if not is_list and not first.lstrip().startswith("["):
            return f"{self.node.prefix}{write_key(name)} = {toml.literal(fields)}"
        keys = [str(key) for key in self.path] + ([] if is_list else [name])
        header = ".".join(map(write_key, keys))
        lines = [f"{write_key(key)} = {toml.literal(value)}" for key, value in fields.items()]
        return newline(self.text).join((f"[[{header}]]" if is_list else f"[{header}]", *lines))

    def _start_of_line(self) -> str:
        """The text before each entry on its line: the indentation, and in a list the dash."""
        first = next(iter(self._members.values()), None)
        if first is None:
            raise UneditableError("no entry shows the form that a new one should have.")
        return self.text[line_start(self.text, first.start) : first.start]

    def _spans(self, key: str | int) -> list[Span]:
        member = self._members.get(key)
        if not member:
            raise UneditableError(f"the entry {key!r} does not exist any more.")
        if self.is_in_brackets:
            return [Span(member.start, member.end)]
        if member.value.regions:
            return regions(self._tree, (*self.path, key), self.text)
        start = line_start(self.text, member.start)
        if not _BEFORE_ENTRY.fullmatch(self.text, start, member.start):
            raise UneditableError("an entry does not begin on a line of its own.")
        return [Span(start, line_end(self.text, member.end))]

    def _exchanged_in_brackets(self, gone: Sequence[str | int], new: Sequence[str]) -> Edits:
        members = [self._members[key] for key in gone]
        edits = []
        if new:
            first, *members = members
            text = f",{leading_gap(self.text, first)}".join(new)
            edits.append(Edit(first.start, first.end, text))
        node = Node(self.node.kind, self.node.start, self.node.end)
        node.members = list(self._members.values())
        return edits + Json().remove(node, members, self.text)

    def _exchanged_lines(self, gone: Sequence[str | int], new: Sequence[str]) -> Edits:
        spans = [span for key in gone for span in self._spans(key)]
        edits = []
        if new:
            first, *spans = sorted(spans)
            edits.append(Edit(first.start, first.end, self._join(new)))
        elif len(gone) == len(self._members) and not self.node.regions:
            return [Edit(self.node.start, self.node.end, "{}")]
        return edits + [Edit(span.start, next_line(self.text, span.end), "") for span in spans]

    def _add(self, new: Sequence[str]) -> Edit:
        last = max(self._members, key=lambda key: self._spans(key)[-1].end, default=None)
        if self.is_in_brackets:
            if last is None:
                start = self.node.start + 1
                return Edit(start, start, ", ".join(new))
            member = self._members[last]
            text = "".join(f",{leading_gap(self.text, member)}{piece}" for piece in new)
            return Edit(member.end, member.end, text)
        if last is None:
            raise UneditableError("there is no entry after which another one could go.")
        end = self._spans(last)[-1].end
        return Edit(end, end, newline(self.text) + self._join(new))

    def _join(self, new: Sequence[str]) -> str:
        """Texts of lines; TOML's tables with an empty line before each."""
        line_break = newline(self.text)
        later = (
            line_break * (2 if piece.lstrip().startswith("[") else 1) + piece for piece in new[1:]
        )
        return new[0] + "".join(later)

    def _find_comma(self, item: Node) -> int | None:
        match = _TO_COMMA.match(self.text, item.end)
        return match.end() - 1 if match else None
