"""Parses a client's file as its client reads it, or as a more lenient one would.

An invalid file is read as far as possible, because some client may accept it; the reading then has
the reason why it must not be changed.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from pipeguard.clients.catalog import FileSpec
from pipeguard.config.json_text import Json
from pipeguard.config.tree import Lines, Node, NodeKind, UnreadableError

BOM = "\ufeff"
# For formats whose readers take a second for 100 KB to 1 MB; people write a few KB in them.
MOST_CHARACTERS = {"yaml": 2**20, "toml": 4 * 2**20}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Reading:
    """A file's text as one client reads it.

    Attributes:
        text: the text, without a byte order mark.
        tree: its tree; None if the parser fails.
        problem: why its client would not read it, or why it must not be changed.
    """

    text: str
    tree: Node | None
    problem: str = ""

    @cached_property
    def lines(self) -> Lines:
        """The positions of its lines."""
        return Lines(self.text)


def read_text(content: bytes, spec: FileSpec) -> Reading:
    """The text and the tree of a file, as one client reads it."""
    text, problem = _decode(content, spec)
    try:
        return Reading(text, _check(spec, text), problem)
    except UnreadableError as error:
        problem = problem or str(error)
    if spec.format == "json":
        with suppress(UnreadableError):
            return Reading(text, Json().read_leniently(text), problem)
    return Reading(text, None, problem)


def may_name(content: bytes, specs: Iterable[FileSpec]) -> bool:
    """True if an unreadable file may list servers: it has one of the keys, or escapes."""
    text = decode(content)
    keys = {path[-1] if path else "" for spec in specs for path in spec.servers}
    return "\\" in text or any(key.strip("*") in text for key in keys)


def decode(content: bytes) -> str:
    """The text of a file as the most lenient client reads it, to look for keys in it."""
    text = content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8", "replace")
    return text.replace("\0", "")  # of UTF-16 and UTF-32 without a mark, which some readers guess


def find_nodes(tree: Node, path: Sequence[str]) -> Iterator[tuple[Node, tuple[str | int, ...]]]:
    """Yield the nodes at a path of keys, in which `*` matches every key."""
    nodes: list[tuple[Node, tuple[str | int, ...]]] = [(tree, ())]
    for step in path:
        nodes = [
            (member.value, (*keys, member.key))
            for node, keys in nodes
            for member in node.members
            if step in ("*", member.key)
        ]
    yield from nodes


def is_bare(tree: Node, spec: FileSpec) -> bool:
    """True if a whole file is a map, or a list, of servers."""
    if spec.named:
        return tree.kind is NodeKind.LIST
    wanted = {spec.shape.command, *spec.shape.urls}
    values = [member.value for member in tree.members]
    return bool(values) and all(
        value.kind is NodeKind.MAP and any(member.key in wanted for member in value.members)
        for value in values
    )


def repeated_keys(tree: Node, spec: FileSpec, lines: Lines) -> Iterator[str]:
    """Yield a sentence for each repeated key, from the top of a file to its servers' fields."""
    for path in spec.servers:
        on_the_way = (
            node for depth in range(len(path)) for node, _ in find_nodes(tree, path[:depth])
        )
        for node in (*on_the_way, *(node for node, _ in find_nodes(tree, path))):
            yield from _find_repeated(node, lines)
        for node, _ in find_nodes(tree, path):
            entries = (*(member.value for member in node.members), *node.items)
            for inner in (inner for entry in entries for inner in entry.walk()):
                yield from _find_repeated(inner, lines)


def _find_repeated(node: Node, lines: Lines) -> Iterator[str]:
    seen = set()
    for member in node.members:
        if member.key in seen:
            yield (
                f"line {lines.of(member.start)}: the key {member.key!r} is repeated, and parsers "
                "differ in which of the two they use."
            )
        seen.add(member.key)


def _decode(content: bytes, spec: FileSpec) -> tuple[str, str]:
    """Decode a file; return its text, and the problem with its encoding, if any."""
    if content.startswith(_UTF_16):
        return content.decode("utf-16", "replace"), "it is UTF-16, not UTF-8: save it as UTF-8."
    problem = ""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("utf-8", "replace")
        problem = "it is not UTF-8."
    if not text.startswith(BOM):
        return text, problem
    if spec.format == "json" and "bom" not in spec.allows:
        problem = "it begins with a byte order mark, which its client cannot read: save it without."
    return text[1:], problem


def _check(spec: FileSpec, text: str) -> Node:
    """Parse a text that two parsers must read alike.

    Raises:
        UnreadableError: one of them refuses it, or they differ.
    """
    if not text.strip():
        return Node(NodeKind.MAP, 0, len(text))
    if len(text) > MOST_CHARACTERS.get(spec.format, len(text)):
        raise UnreadableError(f"it is longer than {MOST_CHARACTERS[spec.format]:,} characters.")
    tree = spec.syntax.read(text)
    is_repeated = any(
        len({member.key for member in node.members}) < len(node.members) for node in tree.walk()
    )
    if not is_repeated and spec.syntax.independent_data(text) != tree.data():
        raise UnreadableError("two parsers read it differently.")
    return tree
