"""PipeGuard's own files, programs and variables in a command, a program or a call.

Whoever changes what PipeGuard allows, trusts or records opens everything else. So what names one of
ours counts as a change of it, unless it is known only to read (detect.words, `own.txt`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import permutations

from pipeguard.detect.commands.nested_commands import NestedKind, find_nested
from pipeguard.detect.commands.path_normalisation import path_lines
from pipeguard.detect.commands.programs import flat
from pipeguard.detect.commands.shell_command import GAP, ScriptBudget
from pipeguard.detect.words import arguments
from pipeguard.detect.words import own as lists
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.unicode.name_words import name_words

# PipeGuard's files in this process, where they are elsewhere; `\n` before a whole relative path.
OWN_NAMES: set[str] = set()
MAX_JOINED = 12  # values of a call, which are joined in pairs
MAX_FOLDER = 120  # characters of a folder's path, from the end
MAX_LINE = 4000  # characters of a command
FILE, PROGRAM = "\ue100", "\ue101"  # in place of one of ours


def _expression(table: str) -> re.Pattern[str]:
    pattern = lists.alternatives(table)
    for name in ("READERS", "OURS", "READING_CALLS", "READING", "VARIABLE", "AGENTS"):
        pattern = pattern.replace(name, f"(?:{lists.alternatives(name)})")
    return lazy_regex(pattern.replace("PROGRAM", PROGRAM).replace("OWN", FILE), re.IGNORECASE)


_SIGNS, _PARTS, _PIECE, _GLOB = map(_expression, ("SIGNS", "PARTS", "PIECE", "GLOB"))
_FILES, _PROGRAM, _VARIABLE = map(_expression, ("FILES", "PROGRAM_FILE", "VARIABLE"))
_HOME, _ABOVE, _WILD, _PACKAGE = map(_expression, ("HOME", "ABOVE", "WILD", "PACKAGE"))
_NAMES, _SETS, _KEEPS = map(_expression, ("NAMES", "SETS", "KEEPS"))
_TEXTS, _READS, _DOES_MORE = map(_expression, ("TEXTS", "READS", "DOES_MORE"))
_TEXT_CALL, _LITERAL, _USED = map(_expression, ("TEXT_CALL", "LITERAL", "USED"))
_IMPORTED, _DEFINED = map(_expression, ("IMPORTED", "DEFINED"))
_JOINED, _STEPS = map(_expression, ("JOINED", "STEPS"))
_SQL_FILE, _CHANGES_DATA = map(_expression, ("SQL_FILE", "CHANGES_DATA"))
_WORD, _TAKES_NAMES = map(_expression, ("WORD", "TAKES_NAMES"))


def may_name(text: str) -> bool:
    """False for a text that names none of ours."""
    is_elsewhere = bool(OWN_NAMES) and _own_names(frozenset(OWN_NAMES)).search(text) is not None
    return is_elsewhere or _SIGNS.search(text) is not None


def mark(text: str) -> str:
    """A text with FILE or PROGRAM in place of each of ours."""
    text = text.replace("\\", "/")
    if OWN_NAMES:
        text = _own_names(frozenset(OWN_NAMES)).sub(FILE, text)
    text = _FILES.sub(FILE, _PROGRAM.sub(PROGRAM, text))
    return _GLOB.sub(lambda word: FILE if _fits(word[0]) else word[0], text)


@lru_cache(maxsize=4)
def _own_names(names: frozenset[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, names))})(?![\w.-])")


def _fits(pattern: str) -> bool:
    """True for a pattern for file names that fits one of ours, and not all files of a folder."""
    path = _HOME.sub("~/", pattern, count=1) if _HOME.match(pattern) else pattern
    is_narrow = re.search("[a-z]", _ABOVE.sub("", path))
    parts = _WILD.split(path)
    for known in lists.KNOWN_PATHS if is_narrow else ():
        at = 0
        for part in parts:
            found = known.find(part, at)
            at = found + len(part) if found >= 0 else len(known) + 1
        is_whole = known.startswith(parts[0]) and known.endswith(parts[-1])
        if is_whole and at <= len(known) and known.count("/") == path.count("/"):
            return True
    return False


def changes_own(
    lines: Sequence[str],
    raw: Sequence[str],
    folder: str,
    known: list[str],
    resolve: Callable[[str], str],
) -> bool:
    """True if a pipeline names one of ours, unless all its commands are known only to read.

    Args:
        lines: its commands, without programs that only run them.
        raw: its commands as written, after their variables and before their input.
        folder: the current folder.
        known: variables that were read from such a pipeline; its own are added.
        resolve: a path from the current folder.
    """
    folder = folder[-MAX_FOLDER:]
    is_named = (may_name(folder) and FILE in mark(folder)) or any(
        f"${name}" in each for name in known for each in raw
    )
    whole = " | ".join(dict.fromkeys((*raw, *lines)))
    if not (is_named or may_name(whole) or _PARTS.search(whole)):
        return False
    plain = {line: _show(line, resolve) for line in (*lines, *raw)}
    shown = " | ".join([f"cd {folder}", *plain.values()])
    is_named = is_named or any(map(_NAMES.search, (*plain.values(), shown)))
    if not is_named:
        is_named = any(_SETS.search(each) and not _READS.match(each) for each in plain.values())
    if is_named:
        known += re.findall(r"\| read (?:-\w+ )*(\w+)", shown)
    is_wrapped = any(_WORD.search(plain[each]) for each in raw)
    is_wrapped = is_wrapped and not any(FILE in plain[each] for each in lines)
    is_wrapped = is_wrapped or any(map(_TAKES_NAMES.search, raw))
    is_reading = bool(lines) and not is_wrapped and all(_READS.match(plain[line]) for line in lines)
    return (is_named and not is_reading) or keeps_variable(whole)


def keeps_variable(text: str) -> bool:
    """True for a text that is written, with `> file` behind, and gives a variable of ours."""
    return _KEEPS.search(text.replace("\n", GAP)) is not None


def _show(line: str, resolve: Callable[[str], str]) -> str:
    """A line with our marks, without its scripts, which are judged by themselves, and texts."""
    words = [word.replace(GAP, " ") for word in line.split(" ")]
    for nested in find_nested(words[0], words, ScriptBudget()):
        if nested.kind in (NestedKind.SCRIPT, NestedKind.CODE) and nested.text[:1] not in {"", "-"}:
            is_reading = nested.kind is NestedKind.CODE and _only_reads(nested.text)
            for text in (flat(nested.text), nested.text):
                line = line.replace(text, "CODE" if is_reading else "")
    name, blank, rest = line.partition(" ")
    rest = _PIECE.sub(lambda piece: resolve(piece[0]), rest.replace("\\", "/"))
    line = _without_texts(mark(name + blank + rest))
    return line[:MAX_LINE] + f" {FILE}" * (FILE in line[MAX_LINE:])


def _without_texts(line: str) -> str:
    return _TEXTS.sub(lambda text: text[1] or text[2] or text[3] or "", line)


def change_in_code(text: str) -> bool:
    """True if a program names one of ours, unless it is known only to read."""
    if not may_name(text):
        return False
    plain = _without_texts(text.replace("\\", "/"))
    readings = (plain, _JOINED.sub("", plain), _STEPS.sub("/", plain))
    return any(map(_NAMES.search, map(mark, readings))) and not _only_reads(text)


@lru_cache(maxsize=8)
def _only_reads(code: str) -> bool:
    """True for a program whose functions are all known only to read or compute."""
    code = _TEXT_CALL.sub(" ", code)
    bare = _LITERAL.sub('""', code)
    used = {*_USED.findall(bare), *re.findall(r"\w+", " ".join(_IMPORTED.findall(bare)))}
    defined = {name for names in _DEFINED.findall(bare) for name in names}
    unknown = {name.lower() for name in used - defined} - lists.READING_CALLS
    return not unknown and not _DOES_MORE.search(code)


def change_in_statement(text: str) -> bool:
    """True if a statement reads or writes one of ours as a file."""
    return _SQL_FILE.search(mark(text)) is not None


def change_by_values(tool: str, named: Iterable[tuple[str, str]], lines: Iterable[str]) -> bool:
    """True if values of a call name one of ours, unless its tool is known only to look.

    Args:
        tool: its name, and what it does by an argument.
        named: its values that a tool acts on, each with its name.
        lines: of its other arguments.
    """
    named, lines = list(named), list(lines)
    written = [line[2:] for line in lines if line.startswith("> ")]
    texts = [*written, *(each for pair in named for each in pair)]
    if not tool or not any(map(may_name, [f"\n{text}" for text in texts])):
        return False
    words = frozenset(name_words(tool))
    if words & {"editor", "tool"} and words & lists.LOOKS:
        words -= {"edit", "replace"}
    if words & lists.LOOKS and not words & lists.CHANGES:
        return any(map(_CHANGES_DATA.match, lines)) and any(FILE in mark(v) for _, v in named)
    copied = arguments.SOURCES if words & {"copy", "cp", "backup"} else frozenset[str]()
    values = [value for name, value in named if name not in copied]
    steps = [value for value in values if " " not in value][:MAX_JOINED]
    paths = [*values, "/".join(steps), *map("/".join, permutations(steps, 2))]
    paths = [path for path in paths if _is_paths(path)]
    written += [*paths, *(line[2:] for path in paths for line in path_lines(path, path))]
    is_package = words & lists.PACKAGES and any(_PACKAGE.fullmatch(value) for value in values)
    is_variable = any(_VARIABLE.fullmatch(each) for pair in named for each in pair)
    return bool(is_package or is_variable or any(map(_names, written)))


def _names(path: str) -> bool:
    return not {FILE, PROGRAM}.isdisjoint(mark(f"\n{path}".replace(GAP, " ")))


def _is_paths(text: str) -> bool:
    """True for one or more paths, unlike prose."""
    return all(re.search(rf"[/.{FILE}]", word) for word in re.split(r"[\s,;]+", mark(text.strip())))
