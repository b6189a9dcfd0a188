"""A change of a client's file as a diff for people, with possible secrets masked.

Shows only the changed entries, with the line where each begins: the rest of such a file is private,
and may contain tokens.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator

from pipeguard.clients.entries import Config, Keys, ServerEntry, parse_config
from pipeguard.clients.masking import (
    MASK,
    is_secret,
    masked_text,
    masked_url,
    masked_words,
)
from pipeguard.config.tree import Node, NodeKind, line_of, quoted, regions

CONTEXT_LINES = 3
_REFERENCE = re.compile(r"(?:(?:bearer|basic|token)\s+)?keyring:[\w.-]+", re.IGNORECASE)


def diff(config: Config, content: bytes, paths: Iterable[Keys]) -> list[str]:
    """The change of a file as lines of a unified diff, entry by entry, with secrets masked.

    Args:
        config: the file as it is.
        content: its new content.
        paths: the paths of the changed entries.
    """
    changed = parse_config(config.path, config.specs, content)
    lines = [f"--- {config.path}", f"+++ {config.path}"]
    for path in paths:
        old, _ = _shown(config, path)
        new, line = _shown(changed, path)
        unified = difflib.unified_diff(
            old.splitlines(), new.splitlines(), lineterm="", n=CONTEXT_LINES
        )
        changes = [text for text in unified if not text.startswith(("---", "+++", "@@"))]
        lines += [f"@@ line {line} @@ {path[-1]}", *changes]
    return lines


def exchange_diff(config: Config, content: bytes) -> list[str]:
    """The same for a change that removes entries and adds others."""
    changed = parse_config(config.path, config.specs, content)
    lines = [f"--- {config.path}", f"+++ {config.path}"]
    for mark, one, other in (("-", config, changed), ("+", changed, config)):
        others = {(server.path[:-1], server.name) for server in other.servers}
        for server in one.servers:
            if (server.path[:-1], server.name) not in others:
                text, line = _shown(one, server.path)
                lines.append(f"@@ line {line} @@ {server.name}")
                lines += [mark + shown for shown in text.splitlines()]
    return lines


def command_line(server: ServerEntry) -> str:
    """A server in one line: its own command or address, with secrets masked."""
    if server.own_url is not None:
        return masked_url(server.own_url)
    return " ".join(masked_words(server.own_words))


def _shown(config: Config, path: Keys) -> tuple[str, int]:
    """An entry's text with possible secrets masked, and its first line."""
    tree = config.tree()
    server = next((item for item in config.servers if item.path == path), None)
    entry = tree.at(path)
    if server is None or entry is None:
        return "", 1
    masked = {(start, end): text for start, end, text in _leaves(entry, server, config.text)}
    spans = regions(tree, path, config.text)
    parts = []
    for span in spans:
        position = span.start
        for (start, end), text in sorted(masked.items()):
            if span.start <= start and end <= span.end and start >= position:
                parts += [masked_text(config.text[position:start]), text]
                position = end
        parts.append(masked_text(config.text[position : span.end]))
    return "".join(parts), line_of(config.text, spans[0].start)


def _leaves(entry: Node, server: ServerEntry, text: str) -> Iterator[tuple[int, int, str]]:
    """The position of each scalar of an entry, and the text to show for it."""
    shape = server.shape
    inner = entry.at(server.body) or entry
    words = masked_words(server.words)
    private = {shape.env, *shape.headers}
    named = {shape.bearer_env, shape.env_names, shape.headers_env} - {""}  # variables, by name
    for keys, node in _scalars(entry, ()):
        value = str(node.value)
        top = next((key for key in keys if isinstance(key, str) and key not in server.body), "")
        if top in private:
            shown = _masked_value(value, shape.variable)
        elif inner.member(shape.command) and top in (shape.command, shape.args) and words:
            shown = words[_word_index(keys, shape.command, bool(shape.args))]
        elif top in shape.urls:
            shown = masked_url(value)
        elif top in named:
            shown = masked_text(value)
        elif is_secret(str(top), value) and node.kind is NodeKind.TEXT:
            shown = MASK
        else:
            shown = masked_text(value)
        is_masked = shown != value
        yield node.start, node.end, quoted(shown) if is_masked else text[node.start : node.end]


def _scalars(node: Node, keys: Keys) -> Iterator[tuple[Keys, Node]]:
    if node.kind in (NodeKind.TEXT, NodeKind.OTHER):
        yield keys, node
    for member in node.members:
        yield from _scalars(member.value, (*keys, member.key))
    for index, item in enumerate(node.items):
        yield from _scalars(item, (*keys, index))


def _word_index(keys: Keys, command: str, has_args: bool) -> int:  # noqa: FBT001  a shape's fact
    """The index of a scalar among the words of its entry's command."""
    last = keys[-1]
    if not isinstance(last, int):
        return 0
    return last + 1 if has_args and command not in keys else last


def _masked_value(value: str, variable: str) -> str:
    """A value of env or of a header: shown if it consists of variables and a word as Bearer."""
    if _REFERENCE.fullmatch(value.strip()):
        return value
    has_variable = re.search(variable, value) is not None
    rest = re.sub(variable, "", value).strip().lower()
    return value if has_variable and rest in ("", "bearer", "basic", "token") else MASK
