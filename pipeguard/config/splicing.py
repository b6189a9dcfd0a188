"""Adds entries to a list at the top of a YAML file, whose comments and order stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def spliced(text: str, key: str, block: Callable[[str], str], flow: Sequence[str]) -> Iterator[str]:
    """The text with entries at the end of a list: each way that may be valid.

    Whoever asks reads each of them again, and takes the first that says what was meant.

    Args:
        text: of the file.
        key: of the list, which need not be there.
        block: the entries as lines, behind an indentation.
        flow: the same, each for a list in brackets.
    """
    root = yaml.compose(text, yaml.SafeLoader)
    newline = "\r\n" if "\r\n" in text else "\n"
    entries = list_at(root, key)
    if entries is not None and entries.flow_style:
        at = entries.end_mark.index - 1
        for comma in (", ", "") if entries.value else ("",):  # the list may end with a comma
            yield text[:at] + comma + ", ".join(flow) + text[at:]
        return
    if entries is not None:
        at = end_of_line(text, last_of(entries))
        added = block(" " * entries.start_mark.column)
    else:
        at = len(text)
        added = f"{key}:\n" + block("")
    if at and text[at - 1] != "\n":
        added = "\n" + added
    yield text[:at] + added.replace("\n", newline) + text[at:]


def list_at(root: yaml.Node | None, wanted: str) -> yaml.SequenceNode | None:
    """The list at a key of the outermost mapping; None where there is none."""
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == wanted and isinstance(value, yaml.SequenceNode):
            return value
    return None


def last_of(node: yaml.Node) -> yaml.Node:
    """The last scalar or flow collection in a node: a block's own end mark is the next token's."""
    while isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return node


def end_of_line(text: str, node: yaml.Node) -> int:
    """Where the line after a scalar or flow collection starts."""
    at: int = node.end_mark.index
    if at and text[at - 1] == "\n":  # a block scalar ends where the next line starts
        return at
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1
