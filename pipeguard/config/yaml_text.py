"""YAML as a tree with positions, from PyYAML's marks; and edits in it, by lines.

Every scalar stays a text as it is written. A node with an anchor, an alias or a tag of its own is
marked as shared, and is never edited.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import yaml

from pipeguard.config.json_text import Json
from pipeguard.config.strict_yaml import describe_problem
from pipeguard.config.tree import (
    MOST_DEPTH,
    Edit,
    Edits,
    Member,
    Node,
    NodeKind,
    Style,
    UneditableError,
    UnreadableError,
    Value,
    line_end,
    line_start,
    newline,
    quote,
    without_lines,
)

_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_BLANK = re.compile(r"\s*")
MOST_NODES = 500_000  # with aliases expanded; a file of a thousand servers has 20,000


class Yaml(Json):
    """YAML, whose flow style is edited as JSON is.

    Args:
        literal: writes a value on one line; None for texts that are always quoted, so that `yes`,
            `--` and `C:` stay texts.
    """

    def __init__(self, literal: Callable[[Value], str] | None = None) -> None:
        super().__init__()
        self._literal = literal or super().literal

    def read(self, text: str) -> Node:
        """Implement `Syntax`."""
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            if text.startswith("\ufeff"):  # which PyYAML's marks do not count
                text = "\n" + text[1:]
            _refuse_depth(text, loader)
            node = yaml.compose(text, loader)
        except yaml.MarkedYAMLError as error:
            raise UnreadableError(f"{describe_problem(error)}.") from None
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise UnreadableError(f"it is not valid YAML: {type(error).__name__}.") from None
        if node is None or (isinstance(node, yaml.ScalarNode) and not node.value):
            return Node(NodeKind.MAP, len(text), len(text), style=Style.LINES)
        return _TreeBuilder(text).tree(node)

    def independent_data(self, text: str) -> Value:
        """Implement `Syntax`: every scalar as a text, so that no interpretation of tags matters."""
        try:
            data: Value = yaml.load(text, yaml.BaseLoader) or {}
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise UnreadableError(f"it is not valid YAML: {type(error).__name__}.") from None
        return data

    def literal(self, value: Value) -> str:
        """Implement `Syntax`."""
        return self._literal(value)

    def pairs(self, node: Node, member: Member, text: str, new: Mapping[str, Value]) -> str:
        """Implement `Syntax`."""
        pairs = [f"{_key(key)}: {self.literal(value)}" for key, value in new.items()]
        if node.style is Style.BRACKETS:
            return ", ".join(pairs)
        indent = " " * (member.start - line_start(text, member.start))
        return f"{newline(text)}{indent}".join(pairs)

    def insert(
        self, node: Node, after: Member | None, text: str, new: Mapping[str, Value]
    ) -> Edits:
        """Implement `Syntax`: in a block, on the lines after the member before."""
        if node.style is Style.BRACKETS or not node.members:
            return super().insert(node, after, text, new)
        like = after or node.members[0]
        pairs = self.pairs(node, like, text, new)
        indent = " " * (like.start - line_start(text, like.start))
        if after is None:
            return [Edit(like.start, like.start, f"{pairs}{newline(text)}{indent}")]
        end = line_end(text, after.end)
        return [Edit(end, end, f"{newline(text)}{indent}{pairs}")]

    def remove(self, node: Node, gone: Sequence[Member], text: str) -> Edits:
        """Implement `Syntax`: whole lines; the next member moves to the place of the first."""
        if node.style is Style.BRACKETS:
            return super().remove(node, gone, text)
        edits = []
        remaining = [member for member in node.members if member not in gone]
        first = node.members[0]
        if first in gone:  # the entry begins with it, on a line that it shares
            if not remaining:
                raise UneditableError("nothing would be left of it.")
            edits.append(Edit(first.start, remaining[0].start, ""))
        begin = remaining[0].start if remaining else 0
        later = [member for member in gone if member.start > begin]
        return edits + without_lines(text, node, later) if later else edits

    def prepend(self, node: Node, text: str, new: Sequence[Value]) -> Edits:
        """Implement `Syntax`."""
        if node.style is Style.BRACKETS:
            return super().prepend(node, text, new)
        items = map(self.literal, new)
        indent = " " * (node.start - line_start(text, node.start))
        lines = "".join(f"- {item}{newline(text)}{indent}" for item in items)
        return [Edit(node.start, node.start, lines)]


def _refuse_depth(text: str, loader: type[yaml.SafeLoader]) -> None:
    """Refuse a text nested so deeply that the composer in C would overflow its stack.

    Raises:
        UnreadableError: it is.
        YAMLError: it is not valid YAML.
    """
    depth = 0
    for event in yaml.parse(text, loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            where = f"line {event.start_mark.line + 1}: " if event.start_mark else ""
            raise UnreadableError(f"{where}it is nested too deeply.")


def _key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else quote(key)


class _TreeBuilder:
    """Builds the tree from PyYAML's nodes; counts them, because aliases of aliases multiply."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._left = MOST_NODES

    def tree(self, node: yaml.Node, depth: int = 0) -> Node:
        self._left -= 1
        if depth > MOST_DEPTH or self._left < 0:
            raise UnreadableError("it is nested too deeply, or its aliases multiply.")
        start = node.start_mark.index
        end = node.end_mark.index
        shared = self._text[start : start + 1] in ("&", "!", "*")
        if isinstance(node, yaml.ScalarNode):
            kind = NodeKind.TEXT if node.tag == _TEXT else NodeKind.OTHER
            if node.style in ("|", ">"):
                end = start + len(self._text[start:end].rstrip())
            return Node(kind, start, end, node.value, shared=shared)
        style = Style.BRACKETS if getattr(node, "flow_style", False) else Style.LINES
        kind = NodeKind.LIST if isinstance(node, yaml.SequenceNode) else NodeKind.MAP
        tree = Node(kind, start, end, style=style, shared=shared)
        last = start
        for item in node.value:
            key, value = item if kind is NodeKind.MAP else (None, item)
            begin = last if key is None else key.end_mark.index
            inner = self.tree(value, depth + 1)
            if not begin <= value.start_mark.index <= end:  # an alias: its marks are its anchor's
                inner.start = inner.end = begin
                inner.shared = True
            if key is None:
                tree.items.append(inner)
            else:
                self._add_member(tree, key, inner)
            last = max(inner.end, begin)
        if style is Style.LINES:
            tree.end = max(last, start)
        return tree

    def _add_member(self, tree: Node, key: yaml.Node, value: Node) -> None:
        start = key.start_mark.index
        explicit = self._text[line_start(self._text, start) : start].lstrip(" -").startswith("?")
        if key.tag == _MERGE or not isinstance(key, yaml.ScalarNode) or explicit:
            tree.shared = True
        comma: int | None = None
        if tree.style is Style.BRACKETS:
            rest = _BLANK.match(self._text, value.end)
            if rest and self._text.startswith(",", rest.end()):
                comma = rest.end()
        name = key.value if isinstance(key, yaml.ScalarNode) else ""
        end = max(value.end, key.end_mark.index)
        tree.members.append(Member(name, start, end, value, comma))
