"""Where clients, servers and what they touch stand in a drawing; knows no HTML."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeguard.assess.reach import Reached
from pipeguard.clients.entries import GuardState
from pipeguard.core.unicode.display import cut, shown

WIDTH = 960
ROW = 44
BOX_HEIGHT = 32
TOP = 36
COLUMNS = ((20, 220), (350, 260), (720, 220))  # left edge and width of each
TITLES = ("clients", "servers", "what they can touch")
TEXT_CELLS = 28  # as many fit into a server's box; Chinese letters and the like take two
MOST_SERVERS = 60  # a drawing of more shows nothing; the table has all


@dataclass(frozen=True, slots=True)
class Box:
    """One thing; all numbers are units of the drawing."""

    x: int
    y: int
    width: int
    height: int
    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line between two things."""

    x1: int
    y1: int
    x2: int
    y2: int
    guarded: bool

    @property
    def middle(self) -> int:
        """Half way."""
        return (self.x1 + self.x2) // 2


@dataclass(frozen=True, slots=True)
class Drawing:
    """All of it.

    Attributes:
        width: of the drawing.
        height: of the drawing.
        boxes: things.
        lines: between them.
        heads: left edge and title of each column.
        servers: how many there are.
        guessed: True where something is told by a name alone.
    """

    width: int
    height: int
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    heads: tuple[tuple[int, str], ...]
    servers: int
    guessed: bool


def draw(reached: Sequence[Reached], names: Mapping[str, str]) -> Drawing:
    """Three columns, with a line from each client to its servers and from those to what they touch.

    Args:
        reached: the servers.
        names: of clients, by id.
    """
    drawn = reached[:MOST_SERVERS]
    clients = list(dict.fromkeys(client for one in drawn for client in one.clients))
    touched = list(dict.fromkeys(what for one in drawn for what in one.touches))
    rows = max(len(clients), len(drawn), len(touched), 1)
    columns = (
        [(names.get(name, name), "") for name in clients],
        [(_fitting(one.server), "guarded" if _is_guarded(one) else "open") for one in drawn],
        [(what, "") for what in touched],
    )
    placed = [_column(index, column, rows) for index, column in enumerate(columns)]
    lines = []
    for index, one in enumerate(drawn):
        middle = placed[1][index]
        pairs = [(placed[0][clients.index(name)], middle) for name in one.clients]
        pairs += [(middle, placed[2][touched.index(what)]) for what in one.touches]
        lines += [_line(a, b, guarded=_is_guarded(one)) for a, b in pairs]
    heads = tuple((left, title) for (left, _), title in zip(COLUMNS, TITLES, strict=True))
    boxes = tuple(box for column in placed for box in column)
    guessed = any(not one.asked for one in drawn)
    height = TOP + rows * ROW
    return Drawing(WIDTH, height, boxes, tuple(lines), heads, len(reached), guessed)


def _fitting(name: str) -> str:
    text = shown(name, TEXT_CELLS)
    cells = 0
    for index, character in enumerate(text):
        cells += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if cells > TEXT_CELLS:
            return cut(text, index)
    return text


def _is_guarded(one: Reached) -> bool:
    return one.state is GuardState.GUARDED


def _column(index: int, texts: Iterable[tuple[str, str]], rows: int) -> list[Box]:
    left, width = COLUMNS[index]
    listed = list(texts)
    step = rows * ROW / max(len(listed), 1)
    return [
        Box(left, round(TOP + step * (i + 0.5) - BOX_HEIGHT / 2), width, BOX_HEIGHT, text, kind)
        for i, (text, kind) in enumerate(listed)
    ]


def _line(first: Box, second: Box, *, guarded: bool) -> Line:
    half = BOX_HEIGHT // 2
    return Line(first.x + first.width, first.y + half, second.x, second.y + half, guarded)
