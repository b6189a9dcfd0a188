"""`python -m benchmarks.frames.charts FIGURES PAGE`: the figures of docs/performance.md.

FIGURES is what `python -m benchmarks.frames --json` wrote. Between two marks of the page, the
tables are replaced; the drawing stands beside the page as an SVG.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Iterator
from html import escape
from itertools import product
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"
_NUMBER = re.compile(r"(\d+)")
COLOURS = ("#0d3b2e", "#b35900", "#57606a")  # of the wrappers, in their order
ROLES = ("acts", "reads")  # kinds of tools
DOCUMENT_ROWS = {
    "added to 10 KB: p50 / p90 / overall": ("p50_ms", "p90_ms", "overall_ms"),
    "CPU of 10 KB": ("cpu_ms",),
}
WIDTH, LABEL, BAR = 880, 210, 12  # pixels
SHOWN = ("200B", "10KB", "100KB", "1MB")
DRAWN = re.compile("result, .*(200|10 K|1 M)B")
SIDES = {
    "result": "result, known",
    "new-result": "result, new",
    "arguments": "arguments, known",
    "new-arguments": "arguments, new",
}
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


def columns(figures: Any) -> list[tuple[str, str]]:
    """Each wrapper with a tool that acts, and with one that reads."""
    return list(product(wrappers(figures), ROLES))


def trips(figures: Any) -> dict[str, dict[str, dict[tuple[str, str], float]]]:
    """Milliseconds each wrapper adds to a round trip, by direction and size, and kind of text."""
    rows: dict[str, dict[str, dict[tuple[str, str], float]]] = {}
    for row in figures["round_trip_us"]:
        side, size, kind, form, role = row["name"].split()
        if form == "text" and size in SHOWN:
            kinds = rows.setdefault(f"{SIDES[side]}, {_spaced(size)}", {})
            cells = kinds.setdefault(KIND_NAMES.get(kind, kind), {})
            for name in wrappers(figures):
                cells[name, role] = row["contenders"][name]["added_median"] / 1000
    return rows


def _spaced(size: str) -> str:
    return _NUMBER.sub(r"\1 ", size)


def _grouped(text: str) -> str:
    return _NUMBER.sub(lambda number: f"{int(number[0]):,}", text)


def tables(figures: Any) -> Iterator[str]:
    """The lines of the tables, in Markdown."""
    names, each_way = wrappers(figures), columns(figures)
    titles = [f"{name}, {role}" for name, role in each_way]
    system, python = figures["machine"]["platform"].partition("-")[0], figures["machine"]["python"]
    yield f"Measured on {system}, Python {python}.\n"
    yield from _head("Added to a round trip, ms: prose / code / JSON", titles)
    for name, kinds in trips(figures).items():
        added = ([kind[column] for kind in kinds.values()] for column in each_way)
        yield _row(name, (_cell(times) for times in added))
    flight = figures["in_flight_us_a_call"]
    for age in ("known", "new"):
        rows = ((flight[f"{age}, {role}"]["contenders"][name]) for name, role in each_way)
        rates = (f"{1e6 / row['median']:,.0f}" for row in rows)
        yield _row(f"calls a second, 64 in flight, {age}", rates)
    documents = [figures["documents"][role][name] for name, role in each_way]
    yield _row(f"*{len(documents[0]['added_ms']):,} real documents*", ("" for _ in documents))
    for title, keys in DOCUMENT_ROWS.items():
        yield _row(title, (_cell([each[key] for key in keys]) for each in documents))
    sizes = ([each[key] / 1024 for key in ("before_kib", "after_kib")] for each in documents)
    yield _row("PSS before / after, MiB", (_cell(each) for each in sizes))
    yield ""
    yield from _head("For each guarded server", names)
    for row in figures["start_up_ms"]:
        starts = (f"{row['contenders'][each]['added_median']:,.0f}" for each in names)
        yield _row(f"start, {row['name']}, ms added", starts)
    for row in (each for each in figures["conversation_us"] if "call, after" in each["name"]):
        late = (f"{row['contenders'][each]['added_median'] / 1000:,.2f}" for each in names)
        yield _row(f"{_grouped(row['name'])}, ms added", late)
    *_, when = next(iter(figures["memory"].values()))
    sizes = (figures["memory"][each][when]["proportional_kib"] / 1024 for each in names)
    yield _row(f"PSS {when}, MiB", (f"{size:,.0f}" for size in sizes))


def _cell(numbers: Iterable[float]) -> str:
    """Numbers with as many digits as mean something."""
    return " / ".join(
        f"{number:,.{0 if number >= 20 else 1 if number >= 5 else 2}f}" for number in numbers
    )


def _head(title: str, names: list[str]) -> Iterator[str]:
    yield _row(title, names)
    yield _row("---", ("---:" for _ in names))


def _row(first: str, cells: Any) -> str:
    return "| " + " | ".join((first, *cells)) + " |"


def drawing(figures: Any) -> Iterator[str]:
    """The lines of an SVG: a bar for each wrapper and kind of frame, on a logarithmic scale."""
    names, bars = wrappers(figures), columns(figures)
    rows = [
        (f"{name} of {kind}", added)
        for name, kinds in trips(figures).items()
        for kind, added in kinds.items()
        if DRAWN.match(name)
    ]
    step = BAR * len(bars) + 10
    height = 70 + step * len(rows)
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
    yield ' aria-labelledby="t" font-family="system-ui, sans-serif" font-size="13">'
    yield '<title id="t">Milliseconds that each wrapper adds to a round trip</title>'
    yield f'<rect width="{WIDTH}" height="{height}" rx="12" fill="#f6f8fa"/>'
    for number, name in enumerate(names):
        left = LABEL + 170 * number
        yield f'<rect x="{left}" y="14" width="12" height="12" fill="{COLOURS[number]}"/>'
        yield f'<text x="{left + 18}" y="25" fill="#1f2328">{escape(name)}</text>'
    left = LABEL + 170 * len(names)
    yield f'<text x="{left}" y="25" fill="#57606a">above: acts, below: reads</text>'
    for decade in range(DECADES + 1):
        x = _place(LOWEST * 10**decade)
        yield f'<path d="M{x:.0f} 52V{height - 12}" stroke="#d0d7de"/>'
        label = f"{LOWEST * 10**decade:g} ms"
        yield f'<text x="{x:.0f}" y="46" text-anchor="middle" fill="#57606a">{label}</text>'
    for nth_row, (title, added) in enumerate(rows):
        y = 60 + step * nth_row
        place = f'x="{LABEL - 10}" y="{y + step / 2:.0f}" text-anchor="end"'
        yield f'<text {place} fill="#1f2328">{title}</text>'
        for nth, column in enumerate(bars):
            width = max(1.0, _place(added[column]) - LABEL)
            yield (
                f'<rect x="{LABEL}" y="{y + 2 + BAR * nth}" width="{width:.0f}" height="{BAR - 2}"'
                f' fill="{COLOURS[nth // len(ROLES)]}" opacity="{1 - nth % len(ROLES) / 2:g}"/>'
            )
    yield "</svg>"


def _place(milliseconds: float) -> float:
    decades = math.log10(max(LOWEST, milliseconds) / LOWEST)
    return LABEL + (WIDTH - LABEL - 40) * min(decades, DECADES) / DECADES


if __name__ == "__main__":
    main()
