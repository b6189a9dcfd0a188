"""The role of each string of one message, and the parts of its text that are not idle.

An idle string is only written, searched for or parsed: many rules skip those. Each answer is
computed once for a message. Knows places and roles, and no rule.
"""

from bisect import bisect_left
from collections.abc import Iterable
from functools import cached_property
from operator import itemgetter

from pipeguard.detect.commands import notations, sql
from pipeguard.detect.commands.argument_roles import (
    IDLE,
    ArgumentRole,
    role,
    takes_requests,
    writes_file,
)
from pipeguard.detect.text.document import MessageText
from pipeguard.firewall.protocol.json_values import Path
from pipeguard.records import NamedTuple
from pipeguard.unicode.folding import Range, extend

Idle = tuple[ArgumentRole, ...]
WHOLE_BYTES = 480  # of a string that may be only a rule's search text

PROGRAMS = ArgumentRole.COMMAND, ArgumentRole.CODE


class ArgumentEffect(NamedTuple):
    """The effects of one argument, or of a list of them.

    Attributes:
        data: the lines, in UTF-8.
        start: where the argument begins in the text, in bytes.
        end: where it ends.
        composed: its commands and their inputs, if they have letters that it writes apart.
    """

    data: bytes
    start: int
    end: int
    composed: bytes = b""


class Uses:
    """The roles of the strings of one message.

    Attributes:
        text: its strings.
        tool: the name of the tool that it calls; None if it calls none.
        effects: their effects as found by detect.commands.effects, by whether it looked for
            PowerShell and cmd.
    """

    def __init__(self, text: MessageText, tool: str | None) -> None:
        self.text = text
        self.tool = tool
        self._roles: dict[Path, ArgumentRole] = {}
        self._busy: dict[Idle, list[Range]] = {}
        self.effects: dict[bool, tuple[list[ArgumentEffect], bool]] = {}

    def role(self, path: Path) -> ArgumentRole:
        """Find the role of the string at a path, only by names."""
        return self.role_by_names(tuple([step for step in path if type(step) is str]))

    def role_by_names(self, names: tuple[str, ...]) -> ArgumentRole:
        """Find the role of a string by the names around it."""
        found = self._roles.get(names)
        if found is None:
            found = role(self.tool, names)
            if found in IDLE and names in self._names_of_documents:
                found = ArgumentRole.VALUE
            self._roles[names] = found
        return found

    @cached_property
    def _names_of_documents(self) -> set[tuple[str, ...]]:
        """The names around texts whose named values are arguments."""
        named = zip(self.text.strings, self.text.names_around, strict=True)
        return {names for each, names in named if is_read_inside(each, self.tool, self.text.keys)}

    @cached_property
    def is_of_file(self) -> bool:
        """True if the tool writes a file."""
        return writes_file(self.tool, self.text.keys)

    def role_of_value(self, path: Path, value: str) -> ArgumentRole:
        """Find the role of a string, also by its value: a query may be a statement."""
        role_by_names = self.role(path)
        if role_by_names is ArgumentRole.STATEMENT and not sql.is_statement(value):
            return ArgumentRole.VALUE
        return role_by_names

    def busy(self, low: int, high: int, idle: Idle) -> list[Range]:
        """The parts of a stretch of the text that are not idle.

        Args:
            low: where the stretch begins, in bytes.
            high: where it ends.
            idle: the roles of idle strings.
        """
        if idle not in self._busy:
            self._busy[idle] = []
            for start, end, string_role in self._stretches:
                if string_role not in idle:
                    extend(self._busy[idle], start, end)
        ranges = self._busy[idle]
        parts = []
        for start, end in ranges[bisect_left(ranges, low, key=itemgetter(1)) :]:
            if start >= high:
                break
            if max(start, low) < min(end, high):
                parts.append((max(start, low), min(end, high)))
        return parts

    @cached_property
    def _stretches(self) -> list[tuple[int, int, ArgumentRole | None]]:
        """All of the text in stretches of strings with one role; None for stretches never idle."""
        stretches = []
        start = end = 0
        last: ArgumentRole | None = None
        places = self.text.names_around
        roles = {names: self.role_by_names(names) for names in set(places)}
        for names, size in zip(places, self.text.sizes(), strict=True):
            string_role: ArgumentRole | None = roles[names]
            if size <= WHOLE_BYTES and string_role not in PROGRAMS:
                string_role = None
            if string_role is not last:
                stretches.append((start, end, last))
                start, last = end, string_role
            end += size
        return [*stretches, (start, end, last)]


def is_read_inside(value: str, tool: str | None, names: Iterable[str]) -> bool:
    """True for a text that is no file's content and whose named values are arguments.

    Args:
        value: an argument of a call.
        tool: the called tool.
        names: of the arguments.
    """
    is_document = notations.is_json(value) or (
        takes_requests(tool) and notations.names_command(value)
    )
    return is_document and not writes_file(tool, names)
