"""A change of a client's file as a diff for people, with whatever may be a secret hidden.

Only the changed entries are shown, with the line where each begins: what else is in such a file is
nobody's business, and some of it are tokens.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator

from pipeguard.clients.edit import regions
from pipeguard.clients.entries import Config, Keys, ServerEntry, parse_config
from pipeguard.clients.masking import (
    MASK,
    is_secret,
    masked_text,
    masked_url,
    masked_words,
)
from pipeguard.clients.tree import Node, NodeKind, line_of, quoted

CONTEXT_LINES = 3
_KEPT = re.compile(r"(?:(?:bearer|basic|token)\s+)?keyring:[\w.-]+", re.IGNORECASE)  # a reference


def diff(config: Config, content: bytes, paths: Iterable[Keys]) -> list[str]:
    """What would change in a file: lines of a unified diff, entry by entry, secrets hidden.

    Args:
        config: the file as it is.
        content: what it would hold.
        paths: the keys that lead to the entries that differ.
    """
    changed = parse_config(config.path, config.specs, content)
    lines = [f"--- {config.path}", f"+++ {config.path}"]
    for path in paths:
        old, _ = _shown(config, path)
        new, line = _shown(changed, path)
        found = difflib.unified_diff(
            old.splitlines(), new.splitlines(), lineterm="", n=CONTEXT_LINES
        )
        hunks = [one for one in found if not one.startswith(("---", "+++", "@@"))]
        lines += [f"@@ line {line} @@ {path[-1]}", *hunks]
    return lines


def command_line(server: ServerEntry) -> str:
    """What a server is, in a line: its own command or address, secrets hidden."""
    if server.own_url is not None:
        return masked_url(server.own_url)
    return " ".join(masked_words(server.own_words))


def _shown(config: Config, path: Keys) -> tuple[str, int]:
    """An entry's text with what may be a secret hidden, and its first line."""
    tree = config.tree()
    server = next((one for one in config.servers if one.path == path), None)
    entry = tree.at(path)
    if server is None or entry is None:
        return "", 1
    hidden = {(start, end): text for start, end, text in _leaves(entry, server, config.text)}
    spans = regions(tree, path, config.text)
    parts = []
    for span in spans:
        position = span.start
        for (start, end), text in sorted(hidden.items()):
            if span.start <= start and end <= span.end and start >= position:
                parts += [masked_text(config.text[position:start]), text]
                position = end
        parts.append(masked_text(config.text[position : span.end]))
    return "".join(parts), line_of(config.text, spans[0].start)


def _leaves(entry: Node, server: ServerEntry, text: str) -> Iterator[tuple[int, int, str]]:
    """Each scalar of an entry, as it is to be shown."""
    shape = server.shape
    inner = entry.at(server.body) or entry
    words = masked_words(server.words)
    private = {shape.env, *shape.headers}
    named = {shape.bearer_env, shape.env_names, shape.headers_env} - {""}  # variables, by name
    for keys, node in _scalars(entry, ()):
        value = str(node.value)
        top = next((key for key in keys if isinstance(key, str) and key not in server.body), "")
        if top in private:
            shown = _private(value, shape.variable)
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
        same = shown == value
        yield node.start, node.end, text[node.start : node.end] if same else quoted(shown)


def _scalars(node: Node, keys: Keys) -> Iterator[tuple[Keys, Node]]:
    if node.kind in (NodeKind.TEXT, NodeKind.OTHER):
        yield keys, node
    for member in node.members:
        yield from _scalars(member.value, (*keys, member.key))
    for index, item in enumerate(node.items):
        yield from _scalars(item, (*keys, index))


def _word_index(keys: Keys, command: str, has_args: bool) -> int:  # noqa: FBT001  of a shape
    last = keys[-1]
    if not isinstance(last, int):
        return 0
    return last + 1 if has_args and command not in keys else last


def _private(value: str, variable: str) -> str:
    """A value of env or of a header: only the variables in it, and a word such as Bearer."""
    if _KEPT.fullmatch(value.strip()):
        return value
    found = re.findall(variable, value)
    rest = re.sub(variable, "", value).strip().lower()
    return value if found and rest in ("", "bearer", "basic", "token") else MASK
