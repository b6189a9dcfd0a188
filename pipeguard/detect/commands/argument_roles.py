"""The role of an argument: the tool acts on it, or only writes, stores or searches for it.

A command inside a file's content, a message or a question is not executed. The server chooses the
names, so only an unambiguous name makes a text idle, and no name does if the tool executes its
input. Knows words in names (detect.words.arguments), and no values.
"""

from collections.abc import Iterable
from enum import Enum
from functools import lru_cache

from pipeguard.detect.words import arguments as lists
from pipeguard.firewall.protocol.json_values import JsonValue, Path
from pipeguard.firewall.protocol.places import ARGUMENTS, get_value
from pipeguard.unicode.name_words import name_words


class ArgumentRole(Enum):
    """The role of an argument."""

    COMMAND = "command"  # a command line or a script
    CODE = "code"  # a program in some language
    STATEMENT = "statement"  # for a database
    VALUE = "value"  # anything else that a tool acts on
    PARSED = "parsed"  # text that the tool itself reads: a template, a document with rules
    WRITTEN = "written"  # text that somebody reads: a file's content, a message
    SEARCHED = "searched"  # text that is searched for: a question, a pattern

    __hash__ = object.__hash__


IDLE = ArgumentRole.WRITTEN, ArgumentRole.SEARCHED, ArgumentRole.PARSED
MAX_NAME_CHARS = 128  # of a tool's or an argument's name that are read
NEAREST_NAMES = 4  # around an argument, which decide its role


def role(tool: str | None, path: Path) -> ArgumentRole:
    """Find the role of the argument at a path.

    Args:
        tool: whose argument it is; None for a prompt's, and if it is unknown.
        path: of the argument; may begin at `params`.
    """
    if path[:2] == ARGUMENTS:
        path = path[2:]
    names = tuple([step for step in path if type(step) is str])
    nearest = tuple([name[:MAX_NAME_CHARS] for name in names[-NEAREST_NAMES:]])
    return _role((tool or "")[:MAX_NAME_CHARS], nearest)


def is_field(path: Path) -> bool:
    """True for a value in a list or an object among the arguments."""
    return len(path) > len(ARGUMENTS) + 1


def is_shell(tool: str | None) -> bool:
    """True if a tool's programs are scripts of a shell."""
    return bool(_words(tool or "") & lists.SHELLS)


def is_of_database(tool: str | None) -> bool:
    """True if a tool takes statements for a database."""
    return bool(_words(tool or "") & lists.DATABASE)


def takes_requests(tool: str | None) -> bool:
    """True if a tool runs or requests what it gets."""
    return bool(_words(tool or "") & (lists.EXECUTES | lists.REQUESTS))


def only_looks(tool: str | None) -> bool:
    """True if a tool only reads, by its name; or if it is unknown."""
    words = _words(tool or "read")
    return bool(words & lists.LOOKS) and not words & (lists.WRITES | lists.EXECUTES)


def path_signs(tool: str | None, key: str) -> tuple[str, ...]:
    """The signs of the lines for the path in an argument, by what the tool does with its file."""
    words = _words(tool or "")
    name = key.lower()
    is_written = name in lists.TARGETS or (words & lists.WRITES and name not in lists.SOURCES)
    sign = ">" if is_written else "<"
    return (sign, "OFF") if words & lists.MOVES else (sign,)


def writes_file(tool: str | None, names: Iterable[str]) -> bool:
    """True if a call writes a file, by the name of its tool or of one of its arguments."""
    is_of_files = bool(_words(tool or "") & lists.OF_FILES)
    return is_of_files or any(_words(name) & lists.FILE for name in names)


@lru_cache(2048)  # the same tools with the same arguments, all day
def _role(tool: str, names: tuple[str, ...]) -> ArgumentRole:
    words = _words(tool)
    executes = bool(words & lists.EXECUTES)
    for distance, name in enumerate(reversed(names)):  # the nearest name that decides counts
        role_by_name = _role_by_name(name, words, executes=executes)
        # An object named `data` or `rows` says nothing of the values in it.
        if role_by_name is not None and not (distance and role_by_name in IDLE):
            return role_by_name
    return ArgumentRole.COMMAND if executes and not words & lists.DATABASE else ArgumentRole.VALUE


def _role_by_name(  # noqa: PLR0911  a table of names, each with its own exception
    name: str, tool: frozenset[str], *, executes: bool
) -> ArgumentRole | None:
    """Find the role of an argument by its own name; None if the name is not decisive."""
    last = next(reversed(name_words(name[:64])), "")
    either = {last, name.lower()}
    if either & lists.STATEMENT:
        return ArgumentRole.STATEMENT
    if either & lists.COMMAND:
        is_code = last in lists.SCRIPT and tool & lists.TAKES_CODE and not tool & lists.SHELLS
        return ArgumentRole.CODE if is_code else ArgumentRole.COMMAND
    if either & lists.FORMULA:
        return ArgumentRole.VALUE
    if either & lists.CODE:
        return _role_of_code(tool, executes=executes)
    if either & lists.ALWAYS_WRITTEN:
        return ArgumentRole.PARSED if tool & lists.RENDERS else ArgumentRole.WRITTEN
    if either & lists.WRITTEN and not (either & lists.SOURCES and tool & lists.MOVES):
        return _role_of_text(tool, executes=executes)
    if either & lists.WRITTEN_TO_READERS and tool & lists.READS:
        return ArgumentRole.WRITTEN
    if either & lists.LOOKED_FOR:
        is_text = tool & lists.READS_TEXT or not (tool & lists.DATABASE or executes)
        return ArgumentRole.SEARCHED if is_text else ArgumentRole.STATEMENT
    return None


def _role_of_code(tool: frozenset[str], *, executes: bool) -> ArgumentRole:
    if executes:
        return ArgumentRole.CODE
    if tool & lists.LOOKS_AT_CODE:
        return ArgumentRole.WRITTEN
    return ArgumentRole.CODE if tool & lists.TAKES_CODE else ArgumentRole.VALUE


def _role_of_text(tool: frozenset[str], *, executes: bool) -> ArgumentRole:
    if executes:
        is_code = tool & lists.TAKES_CODE and not tool & lists.SHELLS
        return ArgumentRole.CODE if is_code else ArgumentRole.COMMAND
    is_parsed = tool & lists.PARSES and not tool & lists.OF_CODE
    return ArgumentRole.PARSED if is_parsed else ArgumentRole.WRITTEN


def _words(name: str) -> frozenset[str]:
    return _split_name(name[:MAX_NAME_CHARS])  # no longer name is to fill the cache


@lru_cache(512)
def _split_name(name: str) -> frozenset[str]:
    return frozenset(name_words(name))


def called_tool(value: JsonValue) -> str | None:
    """The name of the tool that a message calls; None if it calls none."""
    name = get_value(value, ("params", "name"))
    return name if isinstance(name, str) else None
