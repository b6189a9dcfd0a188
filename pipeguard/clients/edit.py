"""Gives entries new fields by edits of the text that touch nothing else, and proves that they do.

Before a change is written, it is proven that not one character outside the entries differs, and
that an independent parser reads the new text as the old one with exactly these entries changed.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pipeguard.clients.entries import Keys, ServerEntry
from pipeguard.clients.rewrite import NewFields
from pipeguard.config.tree import (
    Edit,
    Edits,
    Node,
    NodeKind,
    Style,
    Syntax,
    UneditableError,
    UnreadableError,
    Value,
    apply_edits,
    plain,
    regions,
)


class EntryChange(NamedTuple):
    """An entry's text before and after a change: one piece for each of its positions.

    Attributes:
        name: the server's name in the client.
        path: the keys that lead to it.
        before: its pieces before.
        after: its pieces after.
    """

    name: str
    path: Keys
    before: tuple[str, ...]
    after: tuple[str, ...]


def edit_entries(
    text: str, syntax: Syntax, wanted: Sequence[tuple[ServerEntry, NewFields]]
) -> tuple[str, tuple[EntryChange, ...]]:
    """Change entries, and prove that nothing else changed.

    Returns:
        The new text, and the changed entries.

    Raises:
        UneditableError: the edit would change something else.
        UnreadableError: the text is not valid in this format.
    """
    tree = syntax.read(text)
    edits = []
    for server, new in wanted:
        node = tree.at((*server.path, *server.body))
        if node is None or node.kind is not NodeKind.MAP or node.shared:
            raise UneditableError(
                f"{server.name}: PipeGuard cannot change the entry without touching others."
            )
        edits += _edit_map(syntax, text, node, new)
    result = apply_edits(text, edits)
    _prove_entries(syntax, tree, result, wanted)
    changed = syntax.read(result)
    paths = [server.path for server, _ in wanted]
    if _without(text, tree, paths) != _without(result, changed, paths):
        raise UneditableError("the change would touch text outside the entry.")
    changes = (
        EntryChange(
            server.name,
            server.path,
            pieces(tree, server.path, text),
            pieces(changed, server.path, result),
        )
        for server, _ in wanted
    )
    return result, tuple(changes)


def pieces(tree: Node, path: Keys, text: str) -> tuple[str, ...]:
    """Return the text of an entry: one piece for each of its positions."""
    return tuple(span.of(text) for span in regions(tree, path, text))


def _edit_map(syntax: Syntax, text: str, node: Node, new: NewFields) -> Edits:
    """Return the edits that give a map its new fields."""
    edits = []
    gone = []
    placed = {member.key for member in node.members}
    for member in node.members:
        if member.key in new.fields:
            edits += _edit_value(syntax, text, member.value, new.fields[member.key])
            continue
        heirs = [k for k in new.heirs.get(member.key, ()) if k in new.fields and k not in placed]
        if heirs and not member.value.regions:
            placed |= set(heirs)
            fields = {key: new.fields[key] for key in heirs}
            pairs = syntax.pairs(node, member, text, fields)
            edits.append(Edit(member.start, member.end, pairs))
        else:
            gone.append(member)
    edits += syntax.remove(node, gone, text) if gone else []
    remaining = [member.key for member in node.members if member not in gone]
    return edits + _add_fields(syntax, text, node, new=new, remaining=remaining, placed=placed)


def _edit_value(syntax: Syntax, text: str, node: Node, new: Value) -> Edits:
    """Return the edits that give a field its new value."""
    old = node.data()
    if old == new and type(old) is type(new):
        return []
    if node.shared:
        raise UneditableError("it has an anchor, an alias or a tag.")
    if isinstance(new, Mapping) and node.kind is NodeKind.MAP:
        return _edit_map(syntax, text, node, NewFields(new))
    if isinstance(new, list) and node.kind is NodeKind.LIST and isinstance(old, list):
        count = len(new) - len(old)
        if count > 0 and new[count:] == old:
            return syntax.prepend(node, text, new[:count])
        if node.style is not Style.LINES and new and count < 0 and old[-count:] == new:
            return [Edit(node.items[0].start, node.items[-count].start, "")]
        if node.style is Style.LINES and old and new and new[-1] == old[-1]:
            return _replace_start(syntax, text, node, old, new)
    if node.regions:
        raise UneditableError("it is a table of its own.")
    # A null value in YAML may end right after its colon.
    space = " " if node.start == node.end and text[node.start - 1] == ":" else ""
    return [Edit(node.start, node.end, space + syntax.literal(new))]


def _replace_start(
    syntax: Syntax, text: str, node: Node, old: Sequence[Value], new: Sequence[Value]
) -> Edits:
    """Return a block list without its first items, or with others in their place."""
    same = 0
    while same < min(len(old), len(new)) and old[-1 - same] == new[-1 - same]:
        same += 1
    first = len(new) - same
    unchanged = node.items[len(old) - same]
    dash = text.rfind("-", node.start, unchanged.start)
    edits = [Edit(node.start, dash, "")]
    return edits + syntax.prepend(node, text, new[:first]) if first else edits


def _add_fields(
    syntax: Syntax,
    text: str,
    node: Node,
    *,
    new: NewFields,
    remaining: Sequence[str],
    placed: set[str],
) -> Edits:
    """Return the edits that add fields: each after the field that it names, or last."""
    by_index: dict[int, dict[str, Value]] = {}
    for key, value in new.fields.items():
        if key in placed or not key:
            continue
        anchor = new.after.get(key, "")
        anchor = next((m for m, heirs in new.heirs.items() if anchor in heirs), anchor)
        members = [member.key for member in node.members]
        index = members.index(anchor) if anchor in members else -1
        if anchor not in remaining and not (index >= 0 and anchor in new.heirs):
            index = members.index(remaining[-1]) if remaining else -1
        by_index.setdefault(index, {})[key] = value
    edits = []
    for index, fields in by_index.items():
        after = node.members[index] if index >= 0 else None
        edits += syntax.insert(node, after, text, fields)
    return edits


def _prove_entries(
    syntax: Syntax, tree: Node, result: str, wanted: Iterable[tuple[ServerEntry, NewFields]]
) -> None:
    """Prove that both parsers read the new text as the old one with the entries' new fields.

    Raises:
        UneditableError: they do not. Do not write the text.
    """
    data = copy.deepcopy(tree.data())
    for server, new in wanted:
        container: object = data
        steps = (*server.path, *server.body)
        for step in steps[:-1]:
            container = container[step]  # type: ignore[index]  # the path was just read from it
        container[steps[-1]] = dict(new.fields)  # type: ignore[index]  # the same
    prove_data(syntax, result, plain(data))


def prove_data(syntax: Syntax, text: str, expected: object) -> None:
    """Prove that both parsers read a text as expected.

    Raises:
        UneditableError: they do not. Do not write the text.
    """
    try:
        readings = (syntax.read(text).data(), syntax.independent_data(text))
    except UnreadableError as error:
        raise UneditableError(f"the change would break it: {error}") from None
    if any(plain(reading) != expected for reading in readings):
        raise UneditableError("the change would touch something else.")


def _without(text: str, tree: Node, paths: Sequence[Keys]) -> list[str]:
    spans = sorted(span for path in paths for span in regions(tree, path, text))
    parts = []
    position = 0
    for span in spans:
        parts.append(text[position : span.start])
        position = span.end
    return [*parts, text[position:]]
