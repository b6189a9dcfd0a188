"""`python -m benchmarks.detection.worth`: what each part of detection is worth.

Plays every case and some innocent documents, and notes which parts changed anything for each. Those
are played once more without that part: all others would end the same.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from time import thread_time

from benchmarks.detection import harvest
from benchmarks.detection.case_files import load_apart
from benchmarks.detection.cases import Split
from benchmarks.detection.parts import Part, PartError, part_of, parts, watching
from benchmarks.detection.play import Play, play
from benchmarks.detection.variants import Variant, variant
from benchmarks.frames.figures import table
from pipeguard.detect.detector import Engines
from pipeguard.rulebook.cache import load_engines

HARVESTED = 300
HEADS = ("part", "attacks", "missed", "blocks", "spared", "time %")
PAGE = """# What each part of detection is worth

How detection changes without one of its parts: a reading, an encoding, a reader of commands, a flow
heuristic or a model stage. Measured with

    {command}

which plays the cases of both splits (`benchmarks/README.md`) and up to {harvested}
innocent texts of one machine: {attacks} attacks, of which {caught} are caught, and {innocents}
innocent texts, of which {blocked} are stopped.

- *attacks*: caught only with the part; not those that another part catches too.
- *missed*: caught only without it.
- *blocks*: innocent texts that are stopped only with it.
- *spared*: innocent texts that are stopped only without it.
- *time %*: the share of all CPU time that is saved without it.

Zero attacks means that no case needs the part, not that no attack does.

| part | attacks | missed | blocks | spared | time % |
|---|---:|---:|---:|---:|---:|
{rows}
"""


@dataclass(slots=True)
class Worth:
    """The changes without a part.

    Attributes:
        caught: attacks that are caught only with it.
        missed: attacks that are caught only without it.
        blocks: innocent texts that are stopped only with it.
        spared: innocent texts that are stopped only without it.
        seconds: that it takes.
    """

    caught: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)
    spared: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: "Worth") -> None:
        """Count what another process found."""
        self.caught += other.caught
        self.missed += other.missed
        self.blocks += other.blocks
        self.spared += other.spared
        self.seconds += other.seconds

    def compare(self, name: str, usual: Play, without: Play) -> None:
        """Count one text, as it is judged usually and without the part."""
        if usual.innocent:
            if usual.stopped != without.stopped:
                (self.blocks if usual.stopped else self.spared).append(name)
        elif usual.caught != without.caught:
            (self.caught if usual.caught else self.missed).append(name)


@dataclass(slots=True)
class Measured:
    """The texts that were played.

    Attributes:
        plays: with all parts.
        seconds: of CPU that they took.
        worths: of each part.
    """

    plays: list[Play]
    seconds: float
    worths: dict[str, Worth]


def main() -> None:
    """Measure, print a table, write the page."""
    options = _arguments()
    try:
        chosen = [part_of(name) for name in options.part] or list(parts().values())
    except PartError as error:
        sys.exit(f"{error}")
    texts = list(_texts(options.harvest))[:: max(1, options.every)]
    measured = measure(texts, chosen, load_engines())
    rows = list(_rows(measured))
    print(table(_title(measured.plays), HEADS, rows))
    if options.misses:
        for name, worth in measured.worths.items():
            print(f"{name}: {', '.join([*worth.caught, *worth.blocks])}")
    if options.page:
        Path(options.page).write_text(page(options, measured.plays, rows), "utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.detection.worth",
        description=__doc__,
        epilog="example: python -m benchmarks.detection.worth --part encoding.base64 --misses",
    )
    parser.add_argument(
        "--part",
        action="append",
        default=[],
        metavar="NAME",
        help="only this part; may be repeated",
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="play every Nth text")
    parser.add_argument(
        "--harvest",
        type=int,
        default=HARVESTED,
        metavar="N",
        help=f"innocent texts to take from this machine ({HARVESTED})",
    )
    parser.add_argument("--misses", action="store_true", help="list what each part alone decides")
    parser.add_argument("--page", metavar="FILE", help="write the table as a page for docs/")
    return parser.parse_args()


def _texts(harvested: int) -> Iterator[Variant]:
    gathered = harvest.harvest(harvested) if harvested else []
    for split in Split:
        cases, _ = load_apart(split)
        cases += [case for case in gathered if case.split is split]
        yield from (variant(case, view) for case in cases for view in case.views)


# --- measured by all CPUs -----------------------------------------------------------------

_work: tuple[Sequence[Variant], Sequence[Part], Engines]  # for processes that are forked


def measure(texts: Sequence[Variant], chosen: Sequence[Part], rules: Engines) -> Measured:
    """Play texts with all parts, and without each part that changed anything."""
    global _work  # noqa: PLW0603  what a forked process starts from
    _work = texts, chosen, rules
    count = os.cpu_count() or 1
    measured = Measured([], 0.0, {part.name: Worth() for part in chosen})
    with ProcessPoolExecutor(count, mp_context=get_context("fork")) as pool:
        for done in pool.map(_measure_share, range(count), [count] * count):
            measured.plays += done.plays
            measured.seconds += done.seconds
            for name, worth in done.worths.items():
                measured.worths[name].add(worth)
    return measured


def _measure_share(first: int, step: int) -> Measured:
    texts, chosen, rules = _work
    for text in texts[first : first + 2 * step : step]:
        play(text, rules)  # what is loaded once is not counted
    measured = Measured([], 0.0, {part.name: Worth() for part in chosen})
    for text in texts[first::step]:
        _measure_text(text, chosen, rules, measured)
    return measured


def _measure_text(
    text: Variant, chosen: Sequence[Part], rules: Engines, measured: Measured
) -> None:
    name = f"{text.case.split.value}:{text.case.id} ({text.view})"
    with watching(chosen) as seen:
        usual = play(text, rules)
    measured.plays.append(usual)
    again, seconds = _timed(text, rules)
    measured.seconds += seconds
    for part in chosen:
        worth = measured.worths[part.name]
        took, is_changing = seen[part.name]
        if not is_changing:
            worth.seconds += took
            continue
        with part.taken_out():
            without, less = _timed(text, rules)
        worth.seconds += seconds - less
        worth.compare(name, again, without)


def _timed(text: Variant, rules: Engines) -> tuple[Play, float]:
    began = thread_time()
    return play(text, rules), thread_time() - began


# --- shown --------------------------------------------------------------------------------


def _rows(measured: Measured) -> Iterator[list[str]]:
    for name, worth in measured.worths.items():
        counts = map(len, (worth.caught, worth.missed, worth.blocks, worth.spared))
        share = 100 * worth.seconds / measured.seconds if measured.seconds else 0.0
        yield [name, *map(str, counts), f"{share:.1f}"]


def _counts(plays: Iterable[Play]) -> Mapping[str, int]:
    counts = dict.fromkeys(("attacks", "caught", "innocents", "blocked"), 0)
    for judged in plays:
        counts["innocents" if judged.innocent else "attacks"] += 1
        counts["blocked"] += judged.innocent and judged.stopped
        counts["caught"] += judged.caught
    return counts


def _title(plays: Iterable[Play]) -> str:
    counts = _counts(plays)
    return (
        f"{counts['caught']} of {counts['attacks']} attacks are caught, "
        f"{counts['blocked']} of {counts['innocents']} innocent texts stopped; without each part:"
    )


def page(options: argparse.Namespace, plays: Iterable[Play], rows: Iterable[Sequence[str]]) -> str:
    """The table as a page for docs/."""
    command = "python -m benchmarks.detection.worth --page benchmarks/detection/worth.md"
    command += f" --every {options.every}" if options.every > 1 else ""
    harvested = options.harvest
    lines = "\n".join(f"| `{row[0]}` | {' | '.join(row[1:])} |" for row in rows)
    return PAGE.format(command=command, harvested=harvested, rows=lines, **_counts(plays))


if __name__ == "__main__":
    main()
