"""New fields for entries, as edits of a text that touch nothing else; and the proof that they do.

The proof, of every change before it is written: outside of the entries not one character differs,
and a parser of others reads the new text as the old one with just these entries changed.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeguard.clients.entries import Keys, ServerEntry
from pipeguard.clients.rewrite import NewFields
from pipeguard.clients.tree import (
    Edit,
    Member,
    Node,
    NodeKind,
    Span,
    Style,
    Syntax,
    UneditableError,
    UnreadableError,
    Value,
    applied,
    line_end,
    line_start,
)

_ONLY_COMMENTS = re.compile(r"(?:\s|#[^\n]*)*")


@dataclass(frozen=True, slots=True)
class EntryChange:
    """What an entry was and is, as text: one piece for each place that it stands in.

    Attributes:
        path: the keys that lead to it.
        before: its pieces before.
        after: its pieces after.
    """

    path: Keys
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Edited:
    """A text with entries changed.

    Attributes:
        text: the new text.
        changes: the entries, each with what it was and is.
    """

    text: str
    changes: tuple[EntryChange, ...]


def edited(text: str, syntax: Syntax, wanted: Sequence[tuple[ServerEntry, NewFields]]) -> Edited:
    """Change entries, and prove that nothing else changed.

    Raises:
        UneditableError: it cannot be done without touching something else.
        UnreadableError: the text is none of this format.
    """
    tree = syntax.read(text)
    edits: list[Edit] = []
    for server, new in wanted:
        node = _fields_node(tree, server)
        edits += _Change(syntax, text).of_map(node, new)
    result = applied(text, edits)
    _prove_data(syntax, tree, result, wanted)
    changed = syntax.read(result)
    paths = [server.path for server, _ in wanted]
    _prove_text(text, tree, result, changed, paths)
    changes = (
        EntryChange(path, pieces(tree, path, text), pieces(changed, path, result)) for path in paths
    )
    return Edited(result, tuple(changes))


def pieces(tree: Node, path: Keys, text: str) -> tuple[str, ...]:
    """The text of an entry, as it stands: one piece for each place."""
    return tuple(span.of(text) for span in regions(tree, path, text))


def regions(tree: Node, path: Keys, text: str) -> list[Span]:
    """Where an entry stands. What is written in lines reaches to the end of its last line.

    Raises:
        UneditableError: there is no such entry.
    """
    node = tree.at(path)
    if node is None:
        raise UneditableError("the entry is not there any more.")
    if node.style is Style.BRACKETS and not node.regions:
        return [Span(node.start, node.end)]
    spans = node.regions or [Span(node.start, node.end)]
    found: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start):
        whole = Span(_start(text, span.start, node), line_end(text, span.end))
        if found and whole.start <= found[-1].end:
            found[-1] = Span(found[-1].start, max(found[-1].end, whole.end))
        elif found and _ONLY_COMMENTS.fullmatch(text, found[-1].end, whole.start):
            found[-1] = Span(found[-1].start, whole.end)
        else:
            found.append(whole)
    return found


def _start(text: str, start: int, node: Node) -> int:
    """TOML's statements from the beginning of their line; YAML's blocks from their first key."""
    return line_start(text, start) if node.regions else start


def _fields_node(tree: Node, server: ServerEntry) -> Node:
    node = tree.at((*server.path, *server.body))
    if node is None or node.kind is not NodeKind.MAP or node.shared:
        raise UneditableError(f"{server.name}: the entry cannot be changed alone.")
    return node


class _Change:
    """Makes the edits for one entry."""

    def __init__(self, syntax: Syntax, text: str) -> None:
        self._syntax = syntax
        self._text = text

    def of_map(self, node: Node, new: NewFields) -> list[Edit]:
        """From what a map holds to what it must."""
        edits: list[Edit] = []
        gone: list[Member] = []
        old = {member.key for member in node.members}
        placed: set[str] = set(old)
        for member in node.members:
            if member.key in new.fields:
                edits += self.of_value(member.value, new.fields[member.key])
                continue
            heirs = [
                k for k in new.heirs.get(member.key, ()) if k in new.fields and k not in placed
            ]
            if heirs and not member.value.regions:
                placed |= set(heirs)
                written = self._pairs(node, member, {key: new.fields[key] for key in heirs})
                edits.append(Edit(member.start, member.end, written))
            else:
                gone.append(member)
        edits += self._syntax.remove(node, gone, self._text) if gone else []
        kept = [member for member in node.members if member not in gone]
        return edits + self._added(node, new, kept, placed)

    def of_value(self, node: Node, new: Value) -> list[Edit]:
        """From what a value is to what it must be, keeping as much of its text as can be."""
        old = node.data()
        if old == new and type(old) is type(new):
            return []
        if node.shared:
            raise UneditableError("it has an anchor, an alias or a tag.")
        if isinstance(new, Mapping) and node.kind is NodeKind.MAP:
            return self.of_map(node, NewFields(new))
        if isinstance(new, list) and node.kind is NodeKind.LIST and isinstance(old, list):
            count = len(new) - len(old)
            if count > 0 and old and new[count:] == old:
                return self._syntax.prepend(node, self._text, new[:count])
            if node.style is Style.LINES and old and new and new[-1] == old[-1]:
                return self._fewer(node, old, new)
        if node.regions:
            raise UneditableError("it is a table of its own.")
        if (
            node.style is Style.LINES
            and node.kind is not NodeKind.TEXT
            and node.kind is not NodeKind.OTHER
        ):
            return [self._in_place(node, new)]
        # YAML's nothing, right behind its colon.
        space = " " if node.start == node.end and self._text[node.start - 1] == ":" else ""
        return [Edit(node.start, node.end, space + self._syntax.literal(new))]

    def _fewer(self, node: Node, old: Sequence[Value], new: Sequence[Value]) -> list[Edit]:
        """A block list without its first items, or with others in their place."""
        same = 0
        while same < min(len(old), len(new)) and old[-1 - same] == new[-1 - same]:
            same += 1
        first, kept = len(new) - same, node.items[len(old) - same]
        dash = self._text.rfind("-", node.start, kept.start)
        edits = [Edit(node.start, dash, "")]
        return edits + self._syntax.prepend(node, self._text, new[:first]) if first else edits

    def _in_place(self, node: Node, new: Value) -> Edit:
        """A block gives way to a value on one line."""
        return Edit(node.start, node.end, self._syntax.literal(new))

    def _added(
        self, node: Node, new: NewFields, kept: Sequence[Member], placed: set[str]
    ) -> list[Edit]:
        """New fields without a place: after the field that they name, else at the end."""
        at: dict[int, dict[str, Value]] = {}
        keys = [member.key for member in kept]
        for key, value in new.fields.items():
            if key in placed or not key:
                continue
            anchor = new.after.get(key, "")
            anchor = next((m for m, heirs in new.heirs.items() if anchor in heirs), anchor)
            members = [member.key for member in node.members]
            index = members.index(anchor) if anchor in members else -1
            if anchor not in keys and not (index >= 0 and anchor in new.heirs):
                index = members.index(keys[-1]) if keys else -1
            at.setdefault(index, {})[key] = value
        edits: list[Edit] = []
        for index, fields in at.items():
            after = node.members[index] if index >= 0 else None
            edits += self._syntax.insert(node, after, self._text, fields)
        return edits

    def _pairs(self, node: Node, member: Member, fields: Mapping[str, Value]) -> str:
        return self._syntax.pairs(node, member, self._text, fields)


def _prove_data(
    syntax: Syntax, tree: Node, result: str, wanted: Iterable[tuple[ServerEntry, NewFields]]
) -> None:
    """Both parsers read the new text as the old one with the entries' fields replaced.

    Raises:
        UneditableError: they do not, so nothing is written.
    """
    expected = copy.deepcopy(tree.data())
    for server, new in wanted:
        holder: object = expected
        steps = (*server.path, *server.body)
        for step in steps[:-1]:
            holder = holder[step]  # type: ignore[index]  # the path was just read from it
        holder[steps[-1]] = dict(new.fields)  # type: ignore[index]  # the same
    wanted_data = _plain(expected)
    try:
        readings = (syntax.read(result).data(), syntax.judged(result))
    except UnreadableError as error:
        raise UneditableError(f"the change would break it: {error}") from None
    if any(_plain(reading) != wanted_data for reading in readings):
        raise UneditableError("the change would touch something else.")


def _plain(value: Value) -> Value:
    """Values to be compared: maps, lists, and scalars with their type."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def _prove_text(before: str, old: Node, after: str, new: Node, paths: Sequence[Keys]) -> None:
    """Outside of the entries not one character differs.

    Raises:
        UneditableError: one does, so nothing is written.
    """
    if _without(before, old, paths) != _without(after, new, paths):
        raise UneditableError("the change would touch text outside of the entry.")


def _without(text: str, tree: Node, paths: Sequence[Keys]) -> list[str]:
    spans = sorted(
        (span for path in paths for span in regions(tree, path, text)),
        key=lambda span: span.start,
    )
    left, position = [], 0
    for span in spans:
        left.append(text[position : span.start])
        position = span.end
    return [*left, text[position:]]
