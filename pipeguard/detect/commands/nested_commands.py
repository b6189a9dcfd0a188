"""The scripts, programs, commands and statements in a command's arguments.

Knows which option or operand of each program takes them (`sh -c`, `python -c`, `ssh host`,
`find -exec`, `psql -c`). detect.commands.interpret reads them.
"""

from collections.abc import Iterator
from enum import Enum
from itertools import takewhile

from pipeguard.detect.commands import sql
from pipeguard.detect.commands.programs import (
    CLIENTS,
    INTERPRETERS,
    find_operands,
    find_script,
    option_values,
    program_name,
)
from pipeguard.detect.words import programs as lists
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.records import NamedTuple

_ACTIONS = "-exec", "-execdir", "-ok", "-okdir"  # of `find`
_ENDS = *_ACTIONS, ";", "+"
INTERPRETER_WORDS = 7  # after an interpreter's name, among which its program is looked for

_SSH_OPTIONS = "bcDEeFIiJLlmOopQRSWw"  # that take a value
_ATTACHED_PROGRAM = lazy_regex(r"-[ceE].{8}")
_PROGRAM_OPTION = lazy_regex(r"-[a-zA-Z]*[cerE]|--eval|eval|--print|-p|-pe|-ne")


class NestedKind(Enum):
    """The input of a command."""

    SCRIPT = "script"  # of a shell
    CODE = "code"  # a program in another language
    COMMAND = "command"  # as a list of words
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


def find_nested(name: str, words: list[str]) -> Iterator[Nested]:
    """Find the script in a command's arguments.

    Args:
        name: its program's.
        words: all of them.
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
        for at, word in enumerate(words):
            if word in _ACTIONS:
                command = takewhile(lambda word: word not in _ENDS, words[at + 1 :])
                yield Nested(NestedKind.COMMAND, "", tuple(command))
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


MAX_LINE = 3000  # characters
OVERLAP = 500  # characters shared by two lines of a longer text


def text_lines(head: str, text: str) -> list[str]:
    """A long text in overlapping lines, each after `head`."""
    starts = range(0, max(1, len(text) - OVERLAP), MAX_LINE - OVERLAP)
    return [f"{head} {text[at : at + MAX_LINE]}" for at in starts]
