"""What each string of one message is used for, and the stretches in which any of them acts.

Asked once for a message and remembered: rules that let be what is only written or looked for ask
it again and again. Knows places and roles, and no rule.
"""

from __future__ import annotations

from bisect import bisect_left

from pipeguard.core.commands.argument_roles import ArgumentRole, role, writes_file
from pipeguard.core.commands.sql import is_statement
from pipeguard.core.protocol.places import Path
from pipeguard.core.text.document import MessageText

Range = tuple[int, int]
Idle = tuple[ArgumentRole, ...]
WHOLE_BYTES = 480  # of a string that is nothing but what a rule looks for

IDLE = (ArgumentRole.WRITTEN, ArgumentRole.ASKED, ArgumentRole.PARSED)
PROGRAMS = (ArgumentRole.COMMAND, ArgumentRole.CODE)


class Uses:
    """The roles of the strings of one message.

    Attributes:
        text: its strings.
        tool: that it calls; None where it calls none.
    """

    __slots__ = ("_busy", "_is_of_file", "_known", "text", "tool")

    def __init__(self, text: MessageText, tool: str | None) -> None:
        self.text = text
        self.tool = tool
        self._known: dict[Path, ArgumentRole] = {}
        self._busy: dict[Idle, list[Range]] = {}
        self._is_of_file: bool | None = None

    def role(self, path: Path) -> ArgumentRole:
        """What the string at a path is for."""
        names = tuple([step for step in path if type(step) is str])
        found = self._known.get(names)
        if found is None:
            found = self._known[names] = role(self.tool, path, among=self.text.count)
        return found

    def is_alone(self, path: Path) -> bool:
        """True for an argument by itself, that is in no list and no object."""
        return len(path) == 1 or (len(path) == 3 and path[:2] == ("params", "arguments"))

    @property
    def is_of_file(self) -> bool:
        """True where a file is written, which the tool itself does not read."""
        if self._is_of_file is None:
            self._is_of_file = writes_file(self.tool, (path for path, _ in self.text.sizes()))
        return self._is_of_file

    def used(self, path: Path, value: str) -> ArgumentRole:
        """The same for a string that is known: what is looked for may be a statement or a value."""
        found = self.role(path)
        if found is ArgumentRole.STATEMENT and not is_statement(value):
            return ArgumentRole.VALUE
        return found

    def busy(self, low: int, high: int, idle: Idle) -> list[Range]:
        """The parts of a stretch of the text in which something else stands than what is idle.

        Args:
            low: where the stretch begins, in bytes.
            high: where it ends.
            idle: the roles of what is.
        """
        if idle not in self._busy:
            self._busy[idle] = self._found(idle)
        ranges = self._busy[idle]
        found: list[Range] = []
        for start, end in ranges[bisect_left(ranges, low, key=_end_of) :]:
            if start >= high:
                break
            if max(start, low) < min(end, high):
                found.append((max(start, low), min(end, high)))
        return found

    def _found(self, idle: Idle) -> list[Range]:
        ranges: list[Range] = []
        start = 0
        for path, size in self.text.sizes():
            purpose = self.role(path)
            end = start + size
            lets_be = purpose in idle and (
                size > WHOLE_BYTES or purpose in PROGRAMS or not self.is_alone(path)
            )
            if not lets_be:
                if ranges and ranges[-1][1] == start:
                    ranges[-1] = (ranges[-1][0], end)
                else:
                    ranges.append((start, end))
            start = end
        return ranges


def _end_of(found: Range) -> int:
    return found[1]
