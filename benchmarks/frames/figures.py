"""Figures from samples, and the tables that show them; knows no process and no clock."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

DIRECT = "direct"


@dataclass(frozen=True)
class Figure:
    """The samples of one workload with one contender, in one unit."""

    median: float
    p99: float
    samples: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Figure":
        """The figure of some samples; of few samples, the p99 is near the largest."""
        many = samples if len(samples) > 1 else [*samples, *samples]
        return cls(median(many), quantiles(many, n=100, method="inclusive")[98], len(samples))


@dataclass(frozen=True)
class Row:
    """One workload: the figure of each contender, and what happened to the frame."""

    name: str
    figures: Mapping[str, Figure]
    fate: Mapping[str, str]

    def added(self, contender: str) -> Figure:
        """The difference between a contender's figure and the direct connection's."""
        own, direct = self.figures[contender], self.figures[DIRECT]
        return Figure(own.median - direct.median, own.p99 - direct.p99, own.samples)

    def as_json(self) -> dict[str, object]:
        """The row for a file."""
        return {
            "name": self.name,
            "contenders": {
                name: {
                    "median": figure.median,
                    "p99": figure.p99,
                    "samples": figure.samples,
                    "added_median": self.added(name).median,
                    "added_p99": self.added(name).p99,
                    "frame": self.fate.get(name, "same"),
                }
                for name, figure in self.figures.items()
            },
        }


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in plain text: the first column left-aligned, numbers right-aligned."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    shown = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([title, *shown, ""])


def time_rows(rows: Iterable[Row], contender: str) -> list[list[str]]:
    """Rows of a table of times, in microseconds, for one contender."""
    shown = []
    for row in rows:
        direct, own, added = row.figures[DIRECT], row.figures[contender], row.added(contender)
        shown.append(
            [
                row.name,
                f"{direct.median:,.1f}",
                f"{own.median:,.1f}",
                f"{added.median:,.1f}",
                f"{added.p99:,.1f}",
                f"{own.median / direct.median:.2f}",
                str(own.samples),
                row.fate.get(contender, "same"),
            ]
        )
    return shown


TIME_HEADS = ("workload", "direct", "wrapped", "added", "added p99", "ratio", "n", "frame")
