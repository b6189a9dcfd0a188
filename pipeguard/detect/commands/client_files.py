"""Changes of a client's file: each server that starts behind PipeGuard still does.

Compares what a change takes away with what it writes, as the starts of servers in both. A change is
`guard` if a launcher of PipeGuard, or an option of one, is lost; and `client` if a server without
one comes in, or if the texts do not show what happens to the launchers.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

from pipeguard.detect.commands.argument_usage import parse_json
from pipeguard.detect.commands.file_access import FileAccess
from pipeguard.detect.commands.path_normalisation import patch_lines
from pipeguard.detect.commands.programs import program_name, tidy
from pipeguard.detect.commands.shell_command import ShellCommand
from pipeguard.detect.commands.shell_output import escapes, output
from pipeguard.detect.words import arguments, client_files, programs
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.unicode.name_words import name_words

MAX_PATH = 300  # characters


@cache
def _pattern(table: str) -> re.Pattern[str]:
    """The expression of a table, with another table's in place of its `<@NAME>`."""
    text = client_files.alternatives(table)
    return re.compile(re.sub("<@([A-Z]+)>", lambda name: f"(?:{_pattern(name[1]).pattern})", text))


def find_client_files(values: list[str]) -> list[str]:
    """The paths of clients' files among values: in one, in several joined, or in a patch."""
    steps = "/".join(value for value in values if not _pattern("PROSE").search(value))
    patched = (line[2:] for value in values for line in patch_lines(value))
    paths = (*values, *_pattern("NAMED").findall(steps), *patched)
    tidied = (tidy(path.replace("\\", "/")) for path in paths if len(path) < MAX_PATH)
    return [path for path in tidied if _pattern("FILE").fullmatch(path)]


def _read_starts(text: str) -> tuple[Counter[str], Counter[str]]:
    """The launchers of PipeGuard in a text, or parts of one, and the other programs it starts."""
    between = _pattern("KEY").split(escapes(text))
    starts = [""]  # first the words without a key: a part of a list
    for key, values in zip(["args", *between[1::2]], between[::2], strict=True):
        starts += [""] if key and key != "args" else []
        words = _pattern("PUNCTUATION").split(values) if key else ()
        starts[-1] += "".join(f"{word}\n" for word in map(str.strip, words) if word)
    heads = filter(None, map(_pattern("HEAD").match, starts))
    others = (words for words in starts[1:] if words and not _pattern("LAUNCHER").match(words))
    return Counter(head[0] for head in heads), Counter(each.split("\n")[0] for each in others)


def compare(old: str, new: str, *, is_shared: bool) -> list[str]:
    """The line `OFF guard` or `OFF client` for a change of a client's file; none for another.

    Args:
        old: the text that it replaces; empty if it writes the whole file, or only adds.
        new: the text that it writes.
        is_shared: True if the file has more than servers.
    """
    (before, others_before), (after, others) = _read_starts(old), _read_starts(new)
    if before - after or _adds("WEAK", "\n\n".join((old, *before)), "\n\n".join((new, *after))):
        return ["OFF guard"]
    is_open = others - others_before and not (is_shared and not _pattern("SERVER_MAP").search(new))
    is_cut = not all(map(_pattern("LAUNCHER").match, after - before)) or _adds("KEPT", new, old)
    return ["OFF client"] if is_open or is_cut else []


def _adds(table: str, old: str, new: str) -> bool:
    """True if a text has more of a table's words than the other."""
    return bool(Counter(_pattern(table).findall(new)) - Counter(_pattern(table).findall(old)))


def judge_call(tool: str, values: JsonValue, files: list[str]) -> list[str]:
    """The line for what a call does to the clients' files that it names."""
    words = {*name_words(" ".join([tool, *values] if isinstance(values, dict) else [tool]))}
    lines = [each for key, text in _strings("", values) for each in _edited_lines(key, text)]
    if not words & arguments.CHANGES and (words & arguments.LOOKS or not lines):
        return []
    old, new = ("\n".join(line for sign, line in lines if sign in side) for side in ("- ", "+ "))
    is_shared = not any(map(_pattern("DEDICATED").search, files))
    is_by_line = not (old or "insert" in words or words.isdisjoint(arguments.BY_LINE))
    is_cut = not is_shared and (is_by_line or _pattern("FRAGMENT").search(old))
    is_unseen = is_cut or not lines or _pattern("UNSEEN").search(f"{old}\n{new}")
    return compare(old, new, is_shared=is_shared) or ["OFF client"] * bool(is_unseen)


def _strings(name: str, value: JsonValue) -> Iterator[tuple[str, str]]:
    """The strings of a call by their names, without other files; what a file gets as JSON."""
    value = parse_json(value) or value if isinstance(value, str) else value
    if isinstance(value, list):
        for each in value:
            yield from _strings(name, each)
    elif isinstance(value, dict):
        text, keys = json.dumps(value, ensure_ascii=False), {key.lower() for key in value}
        ours = not name or _pattern("NAMED").search(text)
        if name and (value.keys() & client_files.SERVERS or not (ours or keys & arguments.EDITING)):
            yield name, text
        elif ours or "op" in keys or not keys & arguments.FILE:
            for key, each in value.items():
                yield from _strings(key.lower(), each)
    elif isinstance(value, str) and name not in arguments.NO_CONTENT:
        is_path = _pattern("FILE").fullmatch(value.replace("\\", "/"))
        yield from [] if is_path else [(name, value)]


def _edited_lines(key: str, text: str) -> Iterator[tuple[str, str]]:
    """Each line of a text or a patch; `-` if the change takes it away, `+` if it writes it."""
    sign = "-" if key in arguments.REPLACED | arguments.LOOKED_FOR else "+"
    is_patch = _pattern("PATCH").match(text)
    for line in text.split("\n"):
        if mark := _pattern("MARK").match(line):
            sign = "-" if mark[0][0] in "<-" else "+"
        elif not (is_patch and line[:1] in "+-@* "):
            yield sign, line
        elif line[:4] not in ("--- ", "+++ "):
            yield line[:1] or " ", line[1:]


def judge_command(command: ShellCommand, files: FileAccess) -> list[str]:
    """The line for what a command does to the clients' files that it names."""
    name, operands = program_name([*command.words, ""][0]), command.words[1:]
    text = "\n".join((name, *operands))
    if _pattern("LOOKS").match(text) and not _pattern("DOES_MORE").search(text):
        operands = []
    elif name in programs.LAST_IS_TARGET:
        there = [f"{operands[-1]}/{each.rpartition('/')[2]}" for each in operands]
        operands = (operands if name in programs.MOVES else operands[-1:]) + there
    operands += [target for sign, target in command.redirects if sign in (">", ">>")]
    if not (changed := find_client_files([*map(files.resolve, operands)])):
        return []
    is_shared = not any(map(_pattern("DEDICATED").search, changed))
    if (written := output([command])) is not None:
        return compare("", written, is_shared=is_shared)
    # Perhaps it moves to its place what a command before it wrote.
    if is_shared and _pattern("EDITS_OTHERS").match("\n".join((*files.lines[-9:], text))):
        return []
    return ["OFF guard" if _pattern("OURS").search(text) else "OFF client"]


def judge_code(text: str) -> list[str]:
    """The line for what a program in another language does to the clients' files that it names."""
    changing = _pattern("CHANGES").search(_pattern("CHANGES_OTHER").sub("", text))
    is_changing = changing and _pattern("NAMED").search(text)
    return ["OFF guard" if "pipeguard" in text else "OFF client"] * bool(is_changing)
