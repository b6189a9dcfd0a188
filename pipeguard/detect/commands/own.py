"""PipeGuard's own files, programs and variables in a command, a program or a call.

Whoever changes what PipeGuard allows, trusts or records opens everything else. So what names one of
ours counts as a change of it, unless it is known only to read (detect.words, `own.txt`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeguard.detect.commands.file_access import FileAccess
from pipeguard.detect.commands.path_normalisation import path_lines
from pipeguard.detect.words import arguments
from pipeguard.detect.words import own as lists
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.unicode.name_words import name_words

# PipeGuard's files in this process, where they are elsewhere; `\n` before a whole relative path.
OWN_NAMES: set[str] = set()
MAX_PATH = 120  # characters of a folder, from its end, and of a name
FILE = "\ue100"  # in place of one of our files


def _alternatives(table: str) -> str:
    """Those of a table; `{NAME}` in it stands for those of another."""
    plain = f"(?:{lists.alternatives(table)})"
    return re.sub(r"\{([A-Z]+)\}", lambda name: _alternatives(name[1]), plain)


def _expression(table: str) -> re.Pattern[str]:
    return lazy_regex(_alternatives(table), re.IGNORECASE | re.MULTILINE)


_SIGNS, _FILES, _NAMES, _WORD = map(_expression, ("SIGNS", "FILES", "NAMES", "WORD"))
_PATH, _TEXTS, _READS = map(_expression, ("PATH", "TEXTS", "READS"))
STEPS, _USES, _MAKES, _WRITES = map(_expression, ("STEPS", "USES", "MAKES", "WRITES"))
_OPENS, _PROSE, _CHANGES_DATA = map(_expression, ("OPENS", "PROSE", "CHANGESDATA"))
_BY_NAME, _EDITORS, _IS_DATA = map(_expression, ("BYNAME", "EDITORS", "DATA"))


def may_name(text: str) -> bool:
    """False for a text that names none of ours."""
    return _SIGNS.search(text) is not None or any(name in text for name in [*OWN_NAMES])


def mark(text: str) -> str:
    """A text with FILE in place of each of our files."""
    text = re.sub(r"/[^/\s]{1,80}/\.\.(?=/)", "", text.replace("\\", "/"))
    for name in [*OWN_NAMES] if may_name(text) else ():
        text = re.sub(rf"(?<![\w./-]){re.escape(name)}(?![\w.-])", FILE, text)
    return _FILES.sub(FILE, text)


def change_by_commands(lines: Sequence[str], raw: Sequence[str], files: FileAccess) -> bool:
    """True if a pipeline names one of ours, unless all its commands are known only to read.

    Args:
        lines: its commands with their input, without programs that only run them.
        raw: its commands as written, after their variables.
        files: the script's, with its current folder.
    """
    folder = f"{files.folder[-MAX_PATH:]}/"
    if not may_name(" | ".join((folder, *raw, *lines))):
        return False

    def show(line: str) -> str:
        return _TEXTS.sub(r"\1\2\3\4\5", mark(_PATH.sub(lambda path: files.resolve(path[0]), line)))

    read, written = [*map(show, lines)], [show(line) for line in raw if line not in lines]
    whole = " | ".join((mark(folder), *written, *read))
    is_hidden = any(map(_WORD.search, written)) and FILE not in "".join(read)
    is_reading = bool(read) and not is_hidden and all(map(_READS.match, read))
    return not is_reading and any(map(_NAMES.search, (*read, *written, whole)))


def change_in_code(text: str, folder: str) -> bool:
    """True if a program, run in a folder, names one of ours, unless it is known only to read."""
    if not may_name(text := f"'{folder}'\n{text}"):
        return False
    plain = _TEXTS.sub(r"\1\2\3\4\5", text.replace("\\", "/"))
    if not _NAMES.search(mark(f"{plain}\n{STEPS.sub('/', plain)}")):
        return False
    used = {name.lower() for name in _USES.findall(text)}
    used -= {name.lower() for name in _MAKES.findall(text)}
    return not used <= lists.READING_CALLS | {""} or _WRITES.search(text) is not None


def change_by_call(tool: str, named: Sequence[tuple[str, str]], lines: Sequence[str]) -> bool:
    """True if a call names one of ours, unless its tool is known only to look.

    Args:
        tool: its name, and what it does by an argument.
        named: the values that the tool acts on, each with its name.
        lines: of its arguments.
    """
    words = {*name_words(_EDITORS.sub("", tool))}
    sources = arguments.SOURCES if words & lists.COPIES else frozenset[str]()
    values = [mark(value) for name, value in named if name not in sources]
    paths = [value for value in values if not _PROSE.search(value)]
    paths += [line.partition(" ")[2] for line in lines if line[0] in ">O"]
    joined = "/".join(paths * 2)[: 30 * MAX_PATH]
    paths += [joined, *(line[2:] for line in path_lines(joined, joined, (">",)))]
    is_named = any(FILE in mark(f"\n{path}") for path in paths)
    is_named |= _NAMES.search(" ".join(["in", *paths]).replace("\n", " ")) is not None
    is_named |= any(map(_IS_DATA.match, lines)) and any(map(_OPENS.search, values))
    outputs = {mark(value) for name, value in named if name in arguments.TARGETS}
    if words & lists.LOOKS and not (words & lists.CHANGES or FILE in "".join(outputs)):
        return is_named and any(map(_CHANGES_DATA.match, lines))
    texts = {text[:MAX_PATH] for pair in named for text in pair}
    return is_named or any(_BY_NAME.search(f"{tool}\n{text}") for text in texts)
