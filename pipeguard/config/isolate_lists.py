"""Changes a list of an entry of `isolate` in the text of a policy, whose comments and order stay.

Gives texts that may say what was meant; whoever asks reads each of them again.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import yaml

from pipeguard.config.splicing import end_of_line, last_of, list_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

KEY = "isolate"


def with_list(
    text: str, index: int, kind: str, values: Sequence[str], flow: Callable[[object], str]
) -> Iterator[str]:
    """The text with other values in a list: each way that may be valid.

    Args:
        text: of the file.
        index: of the entry in `isolate`.
        kind: the key of the list, which the entry need not have.
        values: all that it holds then, as the policy has them.
        flow: writes a value on one line.
    """
    entry = _entry(text, index)
    if entry is None:
        return
    node = _value(entry, kind)
    if node is None:
        yield from _with_key(text, entry, f"{kind}: [{', '.join(map(flow, values))}]")
    elif not values:
        yield from _without_key(text, entry, node)
        yield _replaced(text, node, "[]")
    elif isinstance(node, yaml.SequenceNode) and node.flow_style:
        if "#" not in text[node.start_mark.index : node.end_mark.index]:
            items = _items_of(text, node, values)
            new = [flow(value) for value in values if value not in items]
            yield _replaced(text, node, f"[{', '.join([*items.values(), *new])}]")
    elif isinstance(node, yaml.SequenceNode):
        yield _with_lines(text, node, values, flow)


def with_scalar(text: str, index: int, kind: str, value: str) -> Iterator[str]:
    """The text with a key that has one value, or without it: each way that may be valid.

    Args:
        text: of the file.
        index: of the entry in `isolate`.
        kind: the key.
        value: as it is written; empty for none.
    """
    entry = _entry(text, index)
    if entry is None:
        return
    node = _value(entry, kind)
    if node is None:
        yield from _with_key(text, entry, f"{kind}: {value}") if value else ()
    elif value:
        yield _replaced(text, node, value)
    else:
        yield from _without_key(text, entry, node)
        yield _replaced(text, node, "false")


def _entry(text: str, index: int) -> yaml.MappingNode | None:
    entries = list_at(yaml.compose(text, yaml.SafeLoader), KEY)
    if entries is None or index >= len(entries.value):
        return None
    entry = entries.value[index]
    return entry if isinstance(entry, yaml.MappingNode) and entry.value else None


def _value(entry: yaml.MappingNode, kind: str) -> yaml.Node | None:
    return next((value for key, value in entry.value if key.value == kind), None)


def _items_of(text: str, node: yaml.SequenceNode, values: Sequence[str]) -> dict[str, str]:
    """Of the values that are there already, how they are written."""
    return {
        item.value: text[item.start_mark.index : item.end_mark.index]
        for item in node.value
        if item.value in values
    }


def _with_lines(
    text: str, node: yaml.SequenceNode, values: Sequence[str], flow: Callable[[object], str]
) -> str:
    at = end_of_line(text, last_of(node))
    indent, new_line = " " * node.start_mark.column, _new_line(text)
    new = [value for value in values if value not in {item.value for item in node.value}]
    end = "" if not new or text[:at].endswith("\n") else new_line
    lines = "".join(f"{indent}- {flow(value)}{new_line}" for value in new)
    text = text[:at] + end + lines + text[at:]
    for item in reversed(node.value):
        if item.value not in values:
            start = text.rfind("\n", 0, item.start_mark.index) + 1
            text = text[:start] + text[end_of_line(text, item) :]
    return text


def _with_key(text: str, entry: yaml.MappingNode, written: str) -> Iterator[str]:
    if entry.flow_style:
        at = entry.end_mark.index - 1
        for comma in (", ", ""):  # the mapping may end with a comma
            yield text[:at] + comma + written + text[at:]
        return
    at = end_of_line(text, last_of(entry))
    new_line = _new_line(text)
    end = "" if text[:at].endswith("\n") else new_line
    yield f"{text[:at]}{end}{' ' * entry.start_mark.column}{written}{new_line}{text[at:]}"


def _without_key(text: str, entry: yaml.MappingNode, node: yaml.Node) -> Iterator[str]:
    for (_, before), (key, value) in pairwise(entry.value):
        if value is node and entry.flow_style:
            yield text[: before.end_mark.index] + text[value.end_mark.index :]
        elif value is node:
            start = text.rfind("\n", 0, key.start_mark.index) + 1
            yield text[:start] + text[end_of_line(text, last_of(value)) :]


def _replaced(text: str, node: yaml.Node, written: str) -> str:
    start, end = node.start_mark.index, last_of(node).end_mark.index
    return text[:start] + written + text[end:]


def _new_line(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
