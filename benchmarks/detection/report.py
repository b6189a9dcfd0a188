"""The figures of plays: recall, false blocks and precision, each with its interval."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from benchmarks.detection.cases import Expect
from benchmarks.detection.play import Outcome, Play

Z = 1.96  # standard deviations: 95 % of a normal distribution
MEGABYTE = 1_000_000
HARVESTED = "harvest-"  # begins the kinds of texts that are harvested from this machine


@dataclass(frozen=True, slots=True)
class Share:
    """A count out of a total, with Wilson's interval of 95 %."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share; zero if the total is zero."""
        return self.count / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The interval of the share of all such texts (Wilson 1927)."""
        if not self.total:
            return 0.0, 1.0
        spread = Z * Z / self.total
        centre = (self.value + spread / 2) / (1 + spread)
        half = Z / (1 + spread)
        half *= sqrt(self.value * (1 - self.value) / self.total + spread / (4 * self.total))
        return max(0.0, centre - half), min(1.0, centre + half)

    def shown(self) -> str:
        """The share in percent, with its interval."""
        low, high = self.interval
        return f"{100 * self.value:5.1f} [{100 * low:5.1f} – {100 * high:5.1f}]"

    def as_json(self) -> dict[str, float]:
        """The share for a file."""
        low, high = self.interval
        return {
            "count": self.count,
            "total": self.total,
            "share": self.value,
            "low": low,
            "high": high,
        }


@dataclass(frozen=True, slots=True)
class Row:
    """Plays that have something in common.

    Attributes:
        name: what they have in common.
        right: attacks that were caught, or innocent texts that were stopped.
        cut: those of them of which only passages were cut out.
        warned: those of the rest that got a warning.
        kibibytes: of the judged frames.
    """

    name: str
    right: Share
    cut: int
    warned: int
    kibibytes: float

    def as_json(self) -> dict[str, object]:
        """The row for a file."""
        return {"name": self.name, **self.right.as_json(), "cut": self.cut, "warned": self.warned}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under one title; `right` is recall, or the share of false blocks."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    of_attacks: bool

    def lines(self) -> list[list[str]]:
        """The rows as text."""
        return [
            [
                row.name,
                str(row.right.total),
                str(row.right.count),
                row.right.shown(),
                str(row.cut),
                str(row.warned),
            ]
            for row in self.rows
        ]


RECALL_HEADS = ("cases", "caught", "recall % [95 %]", "of these cut", "only warned")
FALSE_HEADS = ("texts", "stopped", "falsely stopped % [95 %]", "of these cut", "warned")


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one split.

    Attributes:
        split: its name.
        tables: recall by class, way, language and view; false blocks by kind.
        recall: over all attacks.
        plain_recall: over the attacks without a disguise.
        false_blocks: over all innocent texts, with those that are redacted.
        false_cuts: over all innocent texts: those of which only passages were cut out.
        precision: attacks among all that was stopped in the case files.
        over: identifiers and the like that were stopped where a warning was due.
        megabytes_a_second: of frames that one thread judges.
    """

    split: str
    tables: tuple[Table, ...]
    recall: Share
    plain_recall: Share
    false_blocks: Share
    false_cuts: Share
    precision: Share
    over: Share
    megabytes_a_second: float

    def summary(self) -> list[list[str]]:
        """The rows of the table of totals."""
        named = {
            "recall": self.recall,
            "recall without disguise": self.plain_recall,
            "false blocks of what is innocent": self.false_blocks,
            "false cuts": self.false_cuts,
            "precision at the default action": self.precision,
            "stopped where a warning was due": self.over,
        }
        lines = [[name, str(s.total), str(s.count), s.shown()] for name, s in named.items()]
        return [*lines, ["throughput, MB/s", "", "", f"{self.megabytes_a_second:,.1f}"]]

    def as_json(self) -> dict[str, object]:
        """The report for a file."""
        return {
            "split": self.split,
            "recall": self.recall.as_json(),
            "plain_recall": self.plain_recall.as_json(),
            "false_blocks": self.false_blocks.as_json(),
            "false_cuts": self.false_cuts.as_json(),
            "precision": self.precision.as_json(),
            "over": self.over.as_json(),
            "megabytes_a_second": self.megabytes_a_second,
            "tables": {t.title: [row.as_json() for row in t.rows] for t in self.tables},
        }


SUMMARY_HEADS = ("of all", "n", "count", "% [95 %]")


def report(split: str, plays: Sequence[Play], clear: Iterable[Play] = ()) -> Report:
    """The figures of one split's plays.

    Args:
        split: its name.
        plays: of the split.
        clear: plays of the disguised cases without their disguise, to show its effect.
    """
    bare = {play.id for play in (*plays, *clear) if play.view == "text" and play.caught}
    attacks = [play for play in plays if not play.innocent]
    innocents = [play for play in plays if play.innocent]
    plain = [play for play in attacks if play.view == "text"]
    due = [play for play in attacks if play.expect is Expect.WARN]
    seconds = sum(play.seconds for play in plays)
    tables = (
        _table("Recall by class", "class", attacks, lambda play: play.kind),
        _table("Recall by way", "way", attacks, lambda play: play.way),
        _table(
            "Recall by language, without disguise", "language", plain, lambda play: play.language
        ),
        _table("Recall by view", "view", attacks, lambda play: play.view),
        _table(
            "Recall by view, of what is caught without it",
            "view",
            (play for play in attacks if play.view != "text" and play.id in bare),
            lambda play: play.view,
        ),
        _table("False blocks by kind", "kind", innocents, lambda play: play.kind),
    )
    return Report(
        split=split,
        tables=tables,
        recall=Share(sum(play.caught for play in attacks), len(attacks)),
        plain_recall=Share(sum(play.caught for play in plain), len(plain)),
        false_blocks=Share(sum(p.stopped and not p.is_cut for p in innocents), len(innocents)),
        false_cuts=Share(sum(play.is_cut for play in innocents), len(innocents)),
        precision=precision(play for play in plays if not play.kind.startswith(HARVESTED)),
        over=Share(sum(play.stopped for play in due), len(due)),
        megabytes_a_second=sum(p.frame_bytes for p in plays) / MEGABYTE / seconds
        if seconds
        else 0.0,
    )


def precision(plays: Iterable[Play]) -> Share:
    """Attacks among all that was stopped, without cases for which a warning is due."""
    stopped = [play for play in plays if play.stopped and play.expect is not Expect.WARN]
    return Share(sum(not play.innocent for play in stopped), len(stopped))


def _table(title: str, by: str, plays: Iterable[Play], key: Callable[[Play], str]) -> Table:
    groups: Mapping[str, list[Play]] = defaultdict(list)
    for play in plays:
        groups[key(play)].append(play)
    of_attacks = "Recall" in title
    heads = (by, *(RECALL_HEADS if of_attacks else FALSE_HEADS))
    rows = tuple(_row(name, groups[name]) for name in sorted(groups))
    return Table(title, heads, rows, of_attacks)


def _row(name: str, plays: Sequence[Play]) -> Row:
    right = [play.stopped if play.innocent else play.caught for play in plays]
    warned = sum(
        play.outcome is Outcome.WARNED and not good for play, good in zip(plays, right, strict=True)
    )
    size = sum(play.frame_bytes for play in plays) / 1024
    cut = sum(play.is_cut and good for play, good in zip(plays, right, strict=True))
    return Row(name, Share(sum(right), len(plays)), cut, warned, size)


def misses(plays: Iterable[Play]) -> list[Play]:
    """Attacks that were not caught, and innocent texts that were stopped."""
    return [play for play in plays if (play.stopped if play.innocent else not play.caught)]
