"""`python -m benchmarks.detection`: what the rules find, what they let be, and how sure that is."""

import argparse
import json
import os
import platform
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.detection import harvest, servers, speed
from benchmarks.detection.cases import (
    Case,
    CaseError,
    Expect,
    Object,
    Split,
    Way,
    load_apart,
    played,
)
from benchmarks.detection.page import page
from benchmarks.detection.play import Outcome, Play, play_all
from benchmarks.detection.report import MEGABYTE, SUMMARY_HEADS, Report, misses, report
from benchmarks.frames.figures import table
from pipeguard.core.session.guard import Engines
from pipeguard.rulebook.cache import load_engines

HARVESTED = 600
SHOWN_RULES = 3  # of a case that was missed


def main() -> None:
    """Play what the arguments ask for, print tables, write files."""
    options = arguments()
    rules = load_engines()
    machine = f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPUs"
    print(machine + "\n")
    splits = [one for one in Split if options.split in ("both", one.value)]
    try:
        reports = [run(split, options, rules) for split in splits]
    except CaseError as error:
        sys.exit(f"{error}")
    written: dict[str, object] = {"machine": machine, "splits": [one.as_json() for one in reports]}
    if options.speed:
        lines = list(speed.rows(rules))
        print(table("One frame, judged by one thread", speed.HEADS, lines), flush=True)
        written["speed"] = [dict(zip(speed.HEADS, line, strict=True)) for line in lines]
    if options.noise:
        written["noise"] = play_noise(options.noise, rules)
    if options.corpus:
        written["corpus"] = play_corpus(options, rules)
    if options.json:
        Path(options.json).write_text(json.dumps(written, indent=1) + "\n", "utf-8")
    if options.html:
        Path(options.html).write_text(page(machine, reports), "utf-8")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.detection",
        description=__doc__,
        epilog="example: python -m benchmarks.detection --split tuned --misses --harvest 0",
    )
    parser.add_argument("--split", choices=["tuned", "held", "both", "none"], default="both")
    parser.add_argument(
        "--harvest",
        type=int,
        default=HARVESTED,
        metavar="N",
        help=f"innocent texts to take from this machine ({HARVESTED}; 0: none)",
    )
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="play every Nth case: a quick look"
    )
    parser.add_argument(
        "--harvest-from",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="further trees to harvest from, such as a node_modules",
    )
    parser.add_argument(
        "--corpus",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="play all that is readable in these trees, or with `--as definition` all that "
        "benchmarks.detection.servers kept in them, and list false blocks by rule",
    )
    parser.add_argument(
        "--as",
        dest="way",
        choices=["result", "arguments", "definition"],
        default="result",
        help="how texts of --corpus travel: other rules look at what is sent than at what comes",
    )
    parser.add_argument("--noise", type=int, metavar="N", help="play 32 KiB of each noise N times")
    parser.add_argument(
        "--speed", action="store_true", help="measure what judging 10 KB and 1 MB of texts takes"
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--html", metavar="FILE", help="write them as a page, with plots")
    parser.add_argument("--misses", action="store_true", help="list what was missed or blocked")
    parser.add_argument(
        "--open", action="store_true", help="with --misses: also those of the held split"
    )
    return parser.parse_args()


def run(split: Split, options: argparse.Namespace, rules: Engines) -> Report:
    """Play one split and print its figures."""
    cases, left_out = load_apart(split)
    if left_out:
        print(f"{split.value}: {left_out} cases left out, which stand in tuned word for word\n")
    if options.harvest:
        gathered = _gathered(options.harvest, tuple(options.harvest_from))
        cases += [case for case in gathered if case.split is split]
    cases = cases[:: max(1, options.every)]
    plays = list(play_all((played(case, view) for case in cases for view in case.views), rules))
    disguised = (case for case in cases if "text" not in case.views and not case.innocent)
    clear = play_all((played(case, "text") for case in disguised), rules)
    figures = report(split.value, plays, clear)
    show(figures)
    if options.misses:
        show_misses(split, plays, opened=options.open)
    return figures


_HARVEST: dict[tuple[int, tuple[Path, ...]], list[Case]] = {}


def _gathered(count: int, more: tuple[Path, ...]) -> list[Case]:
    """Both splits' harvest, read once."""
    if (count, more) not in _HARVEST:
        _HARVEST[count, more] = harvest.harvest(count, more)
    return _HARVEST[count, more]


def show(figures: Report) -> None:
    """One split's tables."""
    print(table(f"=== {figures.split}", SUMMARY_HEADS, figures.summary()))
    for one in figures.tables:
        if one.rows:
            print(table(f"{figures.split}: {one.title}", one.heads, one.lines()), flush=True)


def show_misses(split: Split, plays: Iterable[Play], *, opened: bool) -> None:
    """What was missed, and what was blocked in vain; of the held split only on request."""
    missed = misses(plays)
    if split is Split.HELD and not opened:
        print(f"{split.value}: {len(missed)} missed or falsely blocked; --open lists them.\n")
        return
    lines = [
        [
            f"{play.id} ({play.view})",
            play.kind,
            play.expect.value,
            play.outcome.name.lower(),
            ", ".join(play.rules[:SHOWN_RULES]),
        ]
        for play in missed
    ]
    heads = ("missed or falsely blocked", "class", "expected", "became", "rules")
    print(table(f"{split.value}: misses", heads, lines), flush=True)


def play_noise(count: int, rules: Engines) -> dict[str, int]:
    """So many of each kind of noise, as results and as arguments; how many were blocked."""
    blocks: dict[str, int] = {}
    lines = []
    for kind in harvest.NOISES:
        cases = (
            harvest.noise_case(kind, Split.TUNED, number, way)
            for number in range(count)
            for way in (Way.RESULT, Way.ARGUMENTS)
        )
        plays = list(play_all((played(case, "text") for case in cases), rules))
        blocks[kind] = sum(play.stopped for play in plays)
        seen = Counter(rule for play in plays if play.stopped for rule in play.rules[:1])
        told = ", ".join(f"{rule} {times}" for rule, times in seen.most_common())
        lines.append([kind, str(len(plays)), str(blocks[kind]), told])
    heads = ("noise", "frames", "blocked", "rules")
    print(table("Frames of 32 KiB of noise", heads, lines), flush=True)
    return blocks


def play_corpus(options: argparse.Namespace, rules: Engines) -> dict[str, object]:
    """All that is readable in some trees; how much of it was blocked, and by which rule."""
    folders: Sequence[Path] = options.corpus
    way = Way(options.way)
    size_bytes, frames, seconds = 0, 0, 0.0
    seen: Counter[str] = Counter()
    stopped: list[Play] = []
    cases = (case for folder in folders for case in _all_in(folder, way))
    for play in play_all((played(case, "text") for case in cases), rules):
        frames, size_bytes, seconds = (
            frames + 1,
            size_bytes + play.frame_bytes,
            seconds + play.seconds,
        )
        if play.stopped:
            stopped.append(play)
            seen.update(play.rules[:1])
    megabytes = size_bytes / MEGABYTE
    blocked = sum(play.outcome is Outcome.BLOCKED for play in stopped)
    each = blocked / megabytes if megabytes else 0.0
    rows = [[rule, str(times), f"{times / megabytes:.3f}"] for rule, times in seen.most_common()]
    total = f"{blocked} of {frames} frames blocked, {10 * each:.2f} in 10 MB"
    total += f", of {len(stopped) - blocked} a secret taken out"
    rate = f"{megabytes / seconds:,.1f} MB/s" if seconds else "nothing readable"
    print(f"Corpus as {way.value}: {megabytes:,.1f} MB, {total}, {rate}")
    print(table("", ("first rule", "frames", "a MB"), rows), flush=True)
    if options.misses:
        lines = [
            [play.id, play.outcome.name.lower(), ", ".join(play.rules[:SHOWN_RULES])]
            for play in stopped
        ]
        heads = ("file", "became", "rules")
        print(table("Blocked or redacted, from the file on", heads, lines), flush=True)
    return {
        "as": way.value,
        "megabytes": megabytes,
        "frames": frames,
        "blocks": blocked,
        "redacted": len(stopped) - blocked,
        "blocks_in_10_mb": 10 * each,
        "by_rule": dict(seen.most_common()),
    }


def _all_in(folder: Path, way: Way) -> Iterator[Case]:
    found: Iterator[tuple[str, Object]]
    if way is Way.DEFINITION:
        found = ((name, _definition(one)) for name, one in servers.kept(folder))
    else:
        found = ((path, harvest.body_of(text, way)) for path, text in harvest.tree(folder))
    for name, body in found:
        yield Case(name, Split.TUNED, "corpus", Expect.QUIET, "zxx", way, body)


def _definition(one: Object) -> Object:
    return {"server": one} if "instructions" in one else {"tools": [one]}


if __name__ == "__main__":
    main()
