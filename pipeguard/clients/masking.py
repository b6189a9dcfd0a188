"""Masks configurations for display: removes anything that looks like a secret.

Errs on the side of hiding: a wrong mask costs a person a look into the file.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pipeguard.clients.entries import Config, Keys, ServerEntry, parse_config
from pipeguard.config.tree import Node, NodeKind, find_line, quote, regions
from pipeguard.detect.checks.readable import BUILD_ID
from pipeguard.detect.words import credentials

MASK = "****"
LEAST_CHARS = 16  # of a possible random secret: half of the shortest API keys
_NAME = re.compile(rf"{credentials.alternatives('SHOWN')}|\bsig\b", re.IGNORECASE)
_LONG = re.compile(r"[A-Za-z0-9+/_=.~-]{20,}")
# Bounded, so that a word of megabytes is read once.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s\"']+")
_STORED = r"keyring:[\w.-]+(?=[\s\"',}]|\Z)"  # the name of a stored secret
_BEARER = re.compile(rf"(?i)\b({credentials.alternatives('SCHEMES')})\s+(?!{_STORED})\S+")
_ASSIGNED = re.compile(
    rf"(?<![\w.-]){_STORED}|((?:{credentials.alternatives('SHOWN_BEFORE_VALUE')})"
    rf"[\w.-]{{0,200}}[=:])(?!{_STORED})[^\s\"',}}]+",
    re.IGNORECASE,
)
_OURS = {"--env", "--header-env", "--bearer-env"}  # names, and no values
_PATH = re.compile(r"(?:~|\.{1,2})?/[^/]+/")
# A folder named by a commit or build, as `py311-5111d661490d`; no UUID, which may be a key.
_BUILD = re.compile(
    r"(?![0-9a-f]{8}-[0-9a-f]{4}-)[A-Za-z]{2,20}[0-9.]{0,8}[_-]"
    r"(?:(?:[A-Za-z]{1,20}[0-9.]{0,8}|[0-9.]{1,8})[_-]){0,4}[0-9a-f]{7,12}"
)
_OPTION = re.compile(r"--?[\w-]+")


def is_secret(name: str, value: str) -> bool:
    """True if a value looks like a secret, by its name or by itself.

    Args:
        name: the value's name, or empty.
        value: the text.
    """
    if not value or value.lower() in ("true", "false", "none", "null"):
        return False
    if name and _NAME.search(name):
        return True
    return any(_is_random(match[0]) for match in _LONG.finditer(value))


def split_parts(url: str) -> SplitResult | None:
    """The parts of an address; None if it is invalid."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def has_secret(url: str, variable: str) -> bool:
    """True if an address contains a secret.

    Args:
        url: the address.
        variable: the pattern of variables that the client expands, which are not secrets.
    """
    parts = split_parts(re.sub(variable, "", url))
    if parts is None:
        return False
    if parts.password or (parts.username and is_secret("", parts.username)):
        return True
    pairs = parse_qsl(parts.query, keep_blank_values=False)
    return any(is_secret(name, value) for name, value in pairs) or any(
        is_secret("", part) for part in parts.path.split("/")
    )


def masked_words(words: Sequence[str]) -> list[str]:
    """A command's words to show, without values of `--api-key` and the like or random texts."""
    shown = []
    before = ""
    for word in words:
        option = _OPTION.fullmatch(before)
        if before in _OURS or _REFERENCE.fullmatch(word):
            shown.append(word)
        elif option and _NAME.search(before) and not word.startswith("-"):
            shown.append(MASK)
        else:
            shown.append(masked_text(word))
        before = word
    return shown


def masked_text(text: str) -> str:
    """A text to show, without secrets in addresses and assignments, or random texts."""
    text = _URL.sub(lambda match: masked_url(match[0]), text)
    text = _BEARER.sub(lambda match: f"{match[1]} {MASK}", text)
    text = _ASSIGNED.sub(lambda match: f"{match[1]}{MASK}" if match[1] else match[0], text)
    return _LONG.sub(lambda match: _masked_long(match[0]), text)


def _masked_long(text: str) -> str:
    """Mask the random parts of a long text; in a path, only the random segments."""
    if not _is_random(text):
        return text
    option, equals, path = text.rpartition("=")
    is_path = _PATH.match(path) or BUILD_ID.search(path)
    if not is_path or (option and not _OPTION.fullmatch(option)):
        return MASK
    return f"{option}{equals}{_masked_path(path, _is_random)}"


def _masked_path(path: str, is_hidden: Callable[[str], bool]) -> str:
    """Mask the hidden parts of a path, unless they name a build or commit."""
    pieces = BUILD_ID.split(path)
    for at in range(0, len(pieces), 2):  # those between are the names
        parts = pieces[at].split("/")
        pieces[at] = "/".join(
            MASK if is_hidden(part) and not _BUILD.fullmatch(part) else part for part in parts
        )
    return "".join(pieces)


def masked_url(url: str) -> str:
    """An address to show, without user, password, and the values of its query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    host = parts.netloc.rpartition("@")[2]
    user = f"{MASK}@" if "@" in parts.netloc else ""
    query = re.sub(r"=[^&]*", f"={MASK}", parts.query)
    if query and "=" not in query:
        query = MASK
    path = _masked_path(parts.path, partial(is_secret, ""))
    shown = f"{parts.scheme}://{user}{host}{path}"
    return shown + (f"?{query}" if query else "") + (f"#{MASK}" if parts.fragment else "")


def _is_random(text: str) -> bool:
    """True if a text is long and mixes letters and digits unlike a path or package name."""
    pieces = [piece for piece in re.split(r"[/=.~]", text) if len(piece) >= LEAST_CHARS]
    return any(
        sum(c.isdigit() for c in piece) > 1
        and sum(_kind(a) != _kind(b) for a, b in pairwise(piece)) >= len(piece) // 4
        for piece in pieces
    )


def _kind(character: str) -> tuple[bool, bool]:
    return character.isdigit(), character.isupper()


# --- showing ----------------------------------------------------------------------------
# A change of a client's file as a diff for people, with possible secrets masked.

CONTEXT_LINES = 3
_REFERENCE = re.compile(rf"(?:(?:bearer|basic|token)\s+)?{_STORED}", re.IGNORECASE)


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
        old, _ = _show(config, path)
        new, line = _show(changed, path)
        unified = difflib.unified_diff(
            old.splitlines(), new.splitlines(), lineterm="", n=CONTEXT_LINES
        )
        changes = [text for text in unified if not text.startswith(("---", "+++", "@@"))]
        lines += [f"@@ line {line} @@ {path[-1]}", *changes]
    return lines


def exchange_diff(config: Config, content: bytes) -> list[str]:
    """Show a change that removes entries and adds others."""
    changed = parse_config(config.path, config.specs, content)
    lines = [f"--- {config.path}", f"+++ {config.path}"]
    for mark, one, other in (("-", config, changed), ("+", changed, config)):
        others = {(server.path[:-1], server.name) for server in other.servers}
        for server in one.servers:
            if (server.path[:-1], server.name) not in others:
                text, line = _show(one, server.path)
                lines.append(f"@@ line {line} @@ {server.name}")
                lines += [mark + shown for shown in text.splitlines()]
    return lines


def command_line(server: ServerEntry) -> str:
    """Describe a server in one line: its own command or address, with secrets masked."""
    if server.own_url is not None:
        return masked_url(server.own_url)
    return " ".join(masked_words(server.own_words))


def _show(config: Config, path: Keys) -> tuple[str, int]:
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
    return "".join(parts), find_line(config.text, spans[0].start)


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
        elif top not in named and is_secret(str(top), value) and node.kind is NodeKind.TEXT:
            shown = MASK
        else:
            shown = masked_text(value)
        is_masked = shown != value
        yield node.start, node.end, quote(shown) if is_masked else text[node.start : node.end]


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
