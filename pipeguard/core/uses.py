"""What each string of one message is used for, and the stretches in which any of them acts.

Asked once for a message and remembered: rules that let be what is only written or looked for ask
it again and again. Knows places and roles, and no rule.
"""

from __future__ import annotations

from bisect import bisect_left

from pipeguard.core.places import Path
from pipeguard.core.roles import Role, role
from pipeguard.core.text import Text

Range = tuple[int, int]
WHOLE_BYTES = 480  # of a string that is nothing but what a rule looks for

IDLE = (Role.WRITTEN, Role.ASKED)
_PROGRAMS = (Role.COMMAND, Role.CODE, Role.STATEMENT)


class Uses:
    """The roles of the strings of one message.

    Attributes:
        text: its strings.
        tool: that it calls; None where it calls none.
    """

    __slots__ = ("_busy", "_known", "text", "tool")

    def __init__(self, text: Text, tool: str | None) -> None:
        self.text = text
        self.tool = tool
        self._known: dict[Path, Role] = {}
        self._busy: dict[bool, list[Range]] = {}

    def role(self, path: Path) -> Role:
        """What the string at a path is for."""
        names = tuple([step for step in path if type(step) is str])
        found = self._known.get(names)
        if found is None:
            found = self._known[names] = role(self.tool, path, among=self.text.count)
        return found

    def is_alone(self, path: Path) -> bool:
        """True for an argument by itself, that is in no list and no object."""
        return len(path) == 1 or (len(path) == 3 and path[:2] == ("params", "arguments"))

    def busy(self, low: int, high: int, *, programs: bool) -> list[Range]:
        """The parts of a stretch of the text in which something else stands than what is idle.

        Args:
            low: where the stretch begins, in bytes.
            high: where it ends.
            programs: False where commands, programs and statements are idle too.
        """
        if programs not in self._busy:
            self._busy[programs] = self._found(programs=programs)
        ranges = self._busy[programs]
        found: list[Range] = []
        for start, end in ranges[bisect_left(ranges, low, key=_end_of) :]:
            if start >= high:
                break
            if max(start, low) < min(end, high):
                found.append((max(start, low), min(end, high)))
        return found

    def _found(self, *, programs: bool) -> list[Range]:
        ranges: list[Range] = []
        start = 0
        idle = IDLE if programs else IDLE + _PROGRAMS
        for path, size in self.text.sizes():
            purpose = self.role(path)
            end = start + size
            lets_be = purpose in idle and (
                size > WHOLE_BYTES or purpose in _PROGRAMS or not self.is_alone(path)
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
