"""A self-contained page of HTML: score, findings, then the reach of each client."""

from __future__ import annotations

import platform
import re
import shlex
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeguard.assess import assessing, checking, cures
from pipeguard.assess.reach import NOTHING, Reached
from pipeguard.clients.catalog import clients
from pipeguard.clients.entries import GuardState
from pipeguard.unicode.display import cut, pluralize, show, visible
from pipeguard.version import VERSION

if TYPE_CHECKING:
    from markupsafe import Markup

NAMED_CHARS = 120  # shown of a name or a command in a table or a heading
TEXT_CHARS = 2_000  # shown of a finding, which quotes names


def render(assessment: assessing.Assessment) -> str:
    """The page. The template engine escapes every text; the page has no script."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": visible, "named": _name, "marked": _mark}
    groups = []
    for name in dict.fromkeys(finding.check for finding in assessment.findings):
        findings = [finding for finding in assessment.findings if finding.check == name]
        worst = max(finding.severity for finding in findings)
        groups.append((checking.checks()[name], worst, findings, cures.shared_cure(findings)))
    names = {name: client.name for name, client in clients().items()}
    return environment.get_template("report.html").render(
        assessment=assessment,
        grade=assessment.grade,
        counts=[(level.name.lower(), count) for level, count in assessment.counts().items()],
        groups=groups,
        plural=pluralize,
        drawing=draw(assessment.reached, names),
        clients=names,
        command=shlex.join,
        version=VERSION,
        made=datetime.now(UTC),
        what=assessment.target.root or f"machine {platform.node()}",
    )


def _name(text: str) -> str:
    return show(text, NAMED_CHARS)


def _mark(text: str) -> Markup:
    """Escape a sentence; format text between backticks as code."""
    from markupsafe import Markup, escape

    parts = re.split("`([^`]+)`", show(text, TEXT_CHARS))
    marked = (
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part)
        for index, part in enumerate(parts)
    )
    return Markup("").join(marked)


# --- drawing ----------------------------------------------------------------------------
# The positions of clients, servers and their reach in a drawing; knows no HTML.

WIDTH = 960
ROW = 44
BOX_HEIGHT = 32
TOP = 36
COLUMNS = ((20, 220), (350, 260), (720, 220))  # left edge and width of each
TITLES = ("clients", "servers", "what they can touch")
TEXT_CELLS = 28  # fit into a server's box; Chinese characters and the like take two
GIVEN_CELLS = 23  # into one of the last column
MOST_GIVEN = 4  # of one server; the table has all
HELD = "held"  # the kind of an isolated server's grants
MOST_SERVERS = 60  # a larger drawing is unreadable; the table has all servers


class Box(NamedTuple):
    """A client, a server or a thing that it touches; all numbers are units of the drawing."""

    x: int
    y: int
    width: int
    height: int
    text: str
    kind: str


def draw(reached: Sequence[Reached], names: Mapping[str, str]) -> dict[str, Any]:
    """Draw three columns: clients, servers and what these touch, with lines between them.

    Args:
        reached: the servers.
        names: the clients' names, by id.
    """
    drawn = reached[:MOST_SERVERS]
    clients = list(dict.fromkeys(client for row in drawn for client in row.clients))
    touched = list(dict.fromkeys(what for row in drawn for what in _list_reach(row)))
    rows = max(len(clients), len(drawn), len(touched), 1)
    columns = (
        [(names.get(name, name), "") for name in clients],
        [(_fitting(row.name), "guarded" if _is_guarded(row) else "open") for row in drawn],
        touched,
    )
    placed = [_column(index, column, rows) for index, column in enumerate(columns)]
    lines = []
    for row, middle in zip(drawn, placed[1], strict=True):
        guard = "guarded" if _is_guarded(row) else "open"
        lines += [(guard, placed[0][clients.index(name)], middle) for name in row.clients]
        kind = f"{guard} {HELD if row.isolated else 'word'}"
        lines += [(kind, middle, placed[2][touched.index(what)]) for what in _list_reach(row)]
    return {
        "width": WIDTH,
        "height": TOP + rows * ROW,
        "boxes": [box for column in placed for box in column],
        "lines": [_line(*each) for each in lines],
        "heads": [(left, title) for (left, _), title in zip(COLUMNS, TITLES, strict=True)],
        "servers": len(reached),
        "guessed": any(not row.asked and not row.isolated for row in drawn),
        "held": any(row.isolated for row in drawn),
    }


def _list_reach(row: Reached) -> list[tuple[str, str]]:
    """List the things that a server can touch, as texts and kinds of boxes."""
    if not row.isolated:
        return [(what, "") for what in row.touches]
    count = len(row.given) - MOST_GIVEN
    more = [f"{count} more of {row.name}"] if count > 0 else []
    given = [*row.given[:MOST_GIVEN], *more] or [NOTHING]
    return [(_fitting(what, GIVEN_CELLS), HELD) for what in given]


def _fitting(name: str, most_cells: int = TEXT_CELLS) -> str:
    text = show(name, most_cells)
    cells = 0
    for index, character in enumerate(text):
        cells += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if cells > most_cells:
            return cut(text, index)
    return text


def _is_guarded(row: Reached) -> bool:
    return row.state == GuardState.GUARDED.value


def _column(index: int, texts: Iterable[tuple[str, str]], rows: int) -> list[Box]:
    left, width = COLUMNS[index]
    listed = list(texts)
    step = rows * ROW / max(len(listed), 1)
    return [
        Box(left, round(TOP + step * (i + 0.5) - BOX_HEIGHT / 2), width, BOX_HEIGHT, text, kind)
        for i, (text, kind) in enumerate(listed)
    ]


def _line(kind: str, first: Box, second: Box) -> tuple[str, str]:
    """A line between two boxes, as its class and its path in SVG."""
    begin = first.x + first.width
    half = BOX_HEIGHT // 2
    middle = (begin + second.x) // 2
    start = first.y + half
    end = second.y + half
    return kind, f"M{begin} {start} C{middle} {start} {middle} {end} {second.x} {end}"
