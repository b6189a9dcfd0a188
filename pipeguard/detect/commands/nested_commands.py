"""The scripts, programs, commands and statements in a command's arguments.

Knows which option or operand of each program takes them (`sh -c`, `python -c`, `ssh host`,
`find -exec`, `psql -c`). detect.commands.interpret reads them.
"""

from collections.abc import Iterator
from enum import Enum
from itertools import takewhile

from pipeguard.detect.commands import shell_command, sql
from pipeguard.detect.commands.programs import (
    CLIENTS,
    INTERPRETERS,
    find_operands,
    find_script,
    is_inner,
    option_values,
    program_name,
)
from pipeguard.detect.words import programs as lists
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.records import NamedTuple

MAX_ACTIONS = 64  # of one `find`
MAX_ROOTS = 8  # of one `find`, for which an action is read
INTERPRETER_WORDS = 7  # after an interpreter's name, among which its program is looked for

_SSH_OPTIONS = "bcDEeFIiJLlmOopQRSWw"  # that take a value
_ATTACHED_PROGRAM = lazy_regex(r"-[ceE].{8}")
_PROGRAM_OPTION = lazy_regex(r"-[a-zA-Z]*[cerE]|--eval|eval|--print|-p|-pe|-ne")


class NestedKind(Enum):
    """The input of a command."""

    SCRIPT = "script"  # of a shell
    CODE = "code"  # a program in another language
    COMMAND = "command"  # as a list of words
    REMOVAL = "removal"  # a folder that is removed with all that is in it
    SQL = "sql"  # a line for a statement


class Nested(NamedTuple):
    """The input of a command.

    Attributes:
        kind: of the input.
        text: the script, program, path or line; empty for a command.
    """

    kind: NestedKind
    text: str
    words: tuple[str, ...] = ()


def find_nested(
    name: str, words: list[str], budget: shell_command.ScriptBudget
) -> Iterator[Nested]:
    """Find the script in a command's arguments.

    Args:
        name: its program's.
        words: all of them.
        budget: the message's; exceeded by a `find` with more actions than are read.
    """
    if name == "eval":
        yield Nested(NestedKind.SCRIPT, " ".join(words[1:]))
    if name in lists.TAKES_SCRIPT:
        for script in option_values(words, ("-c", "--command", "-qc", "-qec", "-ec")):
            yield Nested(NestedKind.SCRIPT, script)
    if name == "ssh":
        remote = find_operands(words[1:], _SSH_OPTIONS)[1:]
        if remote:
            yield Nested(NestedKind.SCRIPT, " ".join(remote))
    if name == "find":
        yield from _actions_of_find(words, budget)
    yield from _inner_program(words)
    if name in CLIENTS:
        yield from (Nested(NestedKind.SQL, line) for line in _client_lines(name, words))


def _inner_program(words: list[str]) -> Iterator[Nested]:
    """Find the script of the first shell or interpreter among the words."""
    for at, word in enumerate(words[:-1]):
        inner = program_name(word)
        if inner in lists.SHELLS:
            script = find_script(words[at:])
            if script:
                yield Nested(NestedKind.SCRIPT, script)
            return
        if INTERPRETERS.match(inner) and (at == 0 or words[0] in lists.RUN_IN):
            program = _find_program(inner, words[at + 1 : at + 1 + INTERPRETER_WORDS])
            if program is not None:
                yield Nested(NestedKind.CODE, program)
            return


def _find_program(interpreter: str, words: list[str]) -> str | None:
    """The program in an interpreter's arguments."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if _ATTACHED_PROGRAM.match(word) and " " in word:
            return word[2:]
        if _PROGRAM_OPTION.fullmatch(word):
            return following
    return words[0] if interpreter in ("awk", "gawk") and words else None


def _client_lines(name: str, words: list[str]) -> Iterator[str]:
    """The statements in the arguments of a database's client."""
    if name == "redis-cli":
        yield "SQL " + " ".join(find_operands(words[1:], "hpanu"))[:MAX_LINE]
    elif name == "sqlite3":
        for word in find_operands(words[1:], "")[1:]:
            yield from sql.read_statements(word)
    else:
        for text in option_values(words, CLIENTS[name]):
            yield from sql.read_statements(text)


def _actions_of_find(words: list[str], budget: shell_command.ScriptBudget) -> Iterator[Nested]:
    """Find the actions of `find` on its results: on each whole folder, if no test narrows it."""
    if sum(word.startswith(("-exec", "-ok", "-delete")) for word in words) > MAX_ACTIONS:
        budget.is_exceeded = True
        return
    is_narrow = any(word in lists.NARROWS for word in words)
    roots = _roots_of_find(words)[:MAX_ROOTS]
    for at, word in enumerate(words):
        if word in ("-exec", "-execdir", "-ok", "-okdir"):
            command = [*takewhile(lambda word: word not in (";", "+"), words[at + 1 :])]
            if is_narrow:
                yield Nested(NestedKind.COMMAND, "", tuple(command))
            else:
                yield from (_on_folder(command, root) for root in roots)
        elif word == "-delete" and not is_narrow:
            yield from (Nested(NestedKind.REMOVAL, root) for root in roots)


def _roots_of_find(words: list[str]) -> list[str]:
    first_option = next((at for at, word in enumerate(words) if at and word.startswith("-")), 0)
    if first_option > 1:
        return words[1:first_option]
    named = (word for word in words[1:] if not word.startswith(("-", "(", "!")))
    return [next(named, ".")]


def _on_folder(command: list[str], root: str) -> Nested:
    """A command of `-exec` on a folder and everything in it."""
    words = [root if word == "{}" else word for word in command]
    if words and program_name(words[0]) == "rm":
        words.insert(1, "-r")
    return Nested(NestedKind.COMMAND, "", tuple(words))


# --- pipeline lines ---------------------------------------------------------------------
# A pipeline as one line for rules, or as overlapping ones if it is too long for one.

MAX_LINE = 3000  # characters
OVERLAP = 500  # characters shared by two lines of a longer pipeline
NEIGHBOURS = 5  # adjacent commands in one of several lines
STEP = 3


def pipeline_lines(commands: list[str]) -> list[str]:
    """A pipeline's commands in one line; of a long pipeline, adjacent commands share a line."""
    line = " | ".join(commands)
    if len(line) <= MAX_LINE:
        return [line]
    lines = [line[:MAX_LINE]]
    for command in commands:
        name = " ".join(command[:100].split(" ", 2)[:2])
        starts = range(MAX_LINE - OVERLAP, len(command) - OVERLAP, MAX_LINE - OVERLAP)
        lines += [f"{name} {command[at : at + MAX_LINE]}" for at in starts]
    short = [_shorten(command) for command in commands]
    lines += [
        " | ".join(short[at : at + NEIGHBOURS]) for at in range(0, max(1, len(short) - 2), STEP)
    ]
    # A program that runs its input may come after any number of commands that only pass it on.
    names = [command.split(" ", 2)[1] for command in commands]
    last = next((at for at in range(len(commands) - 1, 0, -1) if is_inner(names[at])), 0)
    return lines + [f"{command} | {short[last]}" for command in dict.fromkeys(short[:last])]


def text_lines(head: str, text: str) -> list[str]:
    """A long text in overlapping lines, each after `head`."""
    starts = range(0, max(1, len(text) - OVERLAP), MAX_LINE - OVERLAP)
    return [f"{head} {text[at : at + MAX_LINE]}" for at in starts]


def _shorten(command: str) -> str:
    half = OVERLAP // 2
    return command if len(command) <= OVERLAP else f"{command[:half]} {command[-half:]}"
