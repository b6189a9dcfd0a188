"""`python -m benchmarks.frames.charts FIGURES PAGE`: the figures of docs/performance.md.

FIGURES is what `python -m benchmarks.frames --json` wrote. Between two marks of the page, the
tables are replaced; the drawing stands beside the page as an SVG.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"
_NUMBER = re.compile(r"(\d+)")
COLOURS = ("#0d3b2e", "#b35900", "#57606a")  # of the wrappers, in their order
WIDTH, LABEL, ROW, BAR = 880, 210, 34, 12  # pixels
KIND_NAMES = {"json": "JSON"}
LOWEST, DECADES = 0.01, 6  # milliseconds at the left edge; powers of ten to the right one


def main() -> None:
    """Write both, of figures that were stored."""
    write(json.loads(Path(sys.argv[1]).read_text("utf-8")), Path(sys.argv[2]))


def write(figures: Any, page: Path) -> None:
    """Write both."""
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(before + BEGIN + "\n".join(tables(figures)) + "\n" + END + after, "utf-8")
    page.with_suffix(".svg").write_text("\n".join(drawing(figures)) + "\n", "utf-8")


def wrappers(figures: Any) -> list[str]:
    """The names of what was measured, without the direct connection."""
    return [name for name in figures["contenders"] if name != "direct"]


def trips(figures: Any) -> Iterator[tuple[str, dict[str, float]]]:
    """Milliseconds each wrapper adds to a round trip, by direction, size and kind of text."""
    for row in figures["round_trip_us"]:
        side, size, kind, form = row["name"].split()
        if form == "text":
            cells = row["contenders"]
            added = {name: cells[name]["added_median"] / 1000 for name in wrappers(figures)}
            yield f"{side}, {_spaced(size)} of {KIND_NAMES.get(kind, kind)}", added


def _spaced(size: str) -> str:
    return _NUMBER.sub(r"\1 ", size)


def _grouped(text: str) -> str:
    return _NUMBER.sub(lambda number: f"{int(number[0]):,}", text)


def tables(figures: Any) -> Iterator[str]:
    """The lines of the tables, in Markdown."""
    names = wrappers(figures)
    system, python = figures["machine"]["platform"].partition("-")[0], figures["machine"]["python"]
    yield f"Measured on {system}, Python {python}.\n"
    yield from _head("Added to a round trip, ms", names)
    for name, added in trips(figures):
        yield _row(name, (f"{added[each]:,.2f}" for each in names))
    yield ""
    yield from _head("For each guarded server", names)
    for row in figures["start_up_ms"]:
        starts = (f"{row['contenders'][each]['added_median']:,.0f}" for each in names)
        yield _row(f"start to first answer, {row['name']}, ms added", starts)
    for row in (each for each in figures["conversation_us"] if "after" in each["name"]):
        late = (f"{row['contenders'][each]['added_median'] / 1000:,.2f}" for each in names)
        yield _row(f"{_grouped(row['name'])}, ms added", late)
    flight = figures["in_flight_us_a_call"]["contenders"]
    yield _row(
        "calls a second, 64 in flight", (f"{1e6 / flight[each]['median']:,.0f}" for each in names)
    )
    for when in next(iter(figures["memory"].values())):
        sizes = (figures["memory"][each][when]["proportional_kib"] / 1024 for each in names)
        yield _row(f"PSS {_grouped(when)}, MiB", (f"{size:,.0f}" for size in sizes))


def _head(title: str, names: list[str]) -> Iterator[str]:
    yield _row(title, names)
    yield _row("---", ("---:" for _ in names))


def _row(first: str, cells: Any) -> str:
    return "| " + " | ".join((first, *cells)) + " |"


def drawing(figures: Any) -> Iterator[str]:
    """The lines of an SVG: a bar for each wrapper and kind of frame, on a logarithmic scale."""
    names, rows = wrappers(figures), list(trips(figures))
    step = max(ROW, BAR * len(names) + 10)
    height = 70 + step * len(rows)
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
    yield ' aria-labelledby="t" font-family="system-ui, sans-serif" font-size="13">'
    yield '<title id="t">Milliseconds that each wrapper adds to a round trip</title>'
    yield f'<rect width="{WIDTH}" height="{height}" rx="12" fill="#f6f8fa"/>'
    for number, name in enumerate(names):
        left = LABEL + 170 * number
        yield f'<rect x="{left}" y="14" width="12" height="12" fill="{COLOURS[number]}"/>'
        yield f'<text x="{left + 18}" y="25" fill="#1f2328">{escape(name)}</text>'
    for decade in range(DECADES + 1):
        x = _place(LOWEST * 10**decade)
        yield f'<path d="M{x:.0f} 52V{height - 12}" stroke="#d0d7de"/>'
        label = f"{LOWEST * 10**decade:g} ms"
        yield f'<text x="{x:.0f}" y="46" text-anchor="middle" fill="#57606a">{label}</text>'
    for nth_row, (title, added) in enumerate(rows):
        y = 60 + step * nth_row
        place = f'x="{LABEL - 10}" y="{y + step / 2:.0f}" text-anchor="end"'
        yield f'<text {place} fill="#1f2328">{title}</text>'
        for nth, name in enumerate(names):
            width = max(1.0, _place(added[name]) - LABEL)
            yield (
                f'<rect x="{LABEL}" y="{y + 2 + BAR * nth}" width="{width:.0f}"'
                f' height="{BAR - 2}" fill="{COLOURS[nth]}"/>'
            )
    yield "</svg>"


def _place(milliseconds: float) -> float:
    decades = math.log10(max(LOWEST, milliseconds) / LOWEST)
    return LABEL + (WIDTH - LABEL - 40) * min(decades, DECADES) / DECADES


if __name__ == "__main__":
    main()
