"""Reports as one HTML page, which contains its style and its plots."""

from collections.abc import Sequence
from html import escape

from benchmarks.detection.report import SUMMARY_HEADS, Report, Row, Share, Table

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem;
  color: #1c1e21; background: #fff; }
table { border-collapse: collapse; margin: .5rem 0 2rem; }
th, td { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid #ddd;
  font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
svg { display: block; margin: .5rem 0 1rem; max-width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: #1c1e21; }
"""
NAME_PX, PLOT_PX, LINE_PX, BAR_PX = 230, 460, 20, 12
ATTACK, INNOCENT, WHISKER = "#2f6fb3", "#b3402f", "#1c1e21"


def page(machine: str, reports: Sequence[Report]) -> str:
    """The whole page.

    Args:
        machine: that the figures are of.
        reports: one for each split.
    """
    parts = [
        "<!doctype html>",
        '<html lang="en"><meta charset="utf-8"><title>Detection</title>',
        f"<style>{STYLE}</style>",
        f"<h1>Detection</h1><p>{escape(machine)}</p>",
    ]
    for report in reports:
        parts.append(f"<h2>Split: {escape(report.split)}</h2>")
        parts.append(_html_table(SUMMARY_HEADS, report.summary()))
        for table in report.tables:
            parts.append(f"<h3>{escape(table.title)}</h3>")
            if table.rows:
                parts += [plot(table), _html_table(table.heads, table.lines())]
    return "\n".join([*parts, "</html>", ""])


def plot(table: Table) -> str:
    """A bar for each row, with its interval."""
    height = LINE_PX * (len(table.rows) + 1)
    width = NAME_PX + PLOT_PX + 60
    lines = [f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img">']
    lines.append(f"<title>{escape(table.title)}</title>")
    for percent in range(0, 101, 25):
        x = NAME_PX + PLOT_PX * percent / 100
        lines.append(f'<line x1="{x}" x2="{x}" y1="0" y2="{height - LINE_PX}" stroke="#ddd"/>')
        lines.append(f'<text x="{x}" y="{height - 5}" text-anchor="middle">{percent} %</text>')
    colour = ATTACK if table.of_attacks else INNOCENT
    for number, row in enumerate(table.rows):
        lines += _bar(row, number * LINE_PX, colour)
    return "\n".join([*lines, "</svg>"])


def _bar(row: Row, top: int, colour: str) -> list[str]:
    share: Share = row.right
    low, high = (NAME_PX + PLOT_PX * end for end in share.interval)
    middle, size = top + LINE_PX / 2, f"{PLOT_PX * share.value:.1f}"
    return [
        f'<text x="{NAME_PX - 8}" y="{middle + 4}" text-anchor="end">{escape(row.name)}</text>',
        f'<rect x="{NAME_PX}" y="{top + 4}" width="{size}" height="{BAR_PX}" fill="{colour}"/>',
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="{WHISKER}"/>',
    ]


def _html_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{escape(head)}</th>" for head in heads)
    lines = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return "\n".join(["<table>", f"<tr>{cells}</tr>", *lines, "</table>"])
