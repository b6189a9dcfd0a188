"""`python -m benchmarks.detection`: what the rules find, and what they leave alone."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterable
from itertools import starmap
from pathlib import Path

from benchmarks.detection import harvest, speed
from benchmarks.detection.case_files import load_apart
from benchmarks.detection.cases import Case, CaseError, Split, Way
from benchmarks.detection.corpus import play_corpus, play_noise
from benchmarks.detection.page import page
from benchmarks.detection.parts import PartError, parts, without
from benchmarks.detection.play import Play, play_all
from benchmarks.detection.report import SUMMARY_HEADS, Report, misses, report
from benchmarks.detection.variants import variant
from benchmarks.frames.figures import table
from pipeguard.detect.detector import Engines
from pipeguard.runtime.progress import say_if_slow, wait_for_engines

HARVESTED = 600
SHOWN_RULES = 3  # for a missed case


def main() -> None:
    """Play cases as the options say, print tables, write files."""
    options = arguments()
    if "list" in options.without:
        print("\n".join(parts()))
        return
    try:
        with without(options.without):
            play_and_report(options, wait_for_engines())
    except (CaseError, PartError) as error:
        sys.exit(f"{error}")


def play_and_report(options: argparse.Namespace, rules: Engines) -> None:
    """Play cases as the options say, print tables, write files.

    Raises:
        CaseError: a case file is wrong.
    """
    machine = f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPUs"
    print(machine + "\n")
    if options.without:
        print(f"without {', '.join(options.without)}\n")
    splits = [split for split in Split if options.split in ("both", split.value)]
    reports = [run(split, options, rules) for split in splits]
    figures: dict[str, object] = {
        "machine": machine,
        "splits": [each.as_json() for each in reports],
    }
    if options.speed:
        lines = list(speed.rows(rules))
        print(table("One frame, judged by one thread", speed.HEADS, lines), flush=True)
        figures["speed"] = [dict(zip(speed.HEADS, line, strict=True)) for line in lines]
    if options.noise:
        figures["noise"] = play_noise(options.noise, rules)
    if options.corpus:
        way = Way(options.way)
        figures["corpus"] = play_corpus(options.corpus, way, rules, misses=options.misses)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    if options.html:
        Path(options.html).write_text(page(machine, reports), "utf-8")


def arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.detection",
        description=__doc__,
        epilog="example: python -m benchmarks.detection --split tuned --misses --harvest 0",
    )
    _add_texts(parser)
    add = parser.add_argument
    add(
        "--without",
        action="append",
        default=[],
        metavar="NAME",
        help="take a part of detection out, such as a reading, an encoding or a model stage; may "
        "be repeated. `list` prints the names",
    )
    add("--speed", action="store_true", help="measure how long judging 10 KB and 1 MB takes")
    add("--json", metavar="FILE", help="write all figures to FILE")
    add("--html", metavar="FILE", help="write them as a page, with plots")
    add("--misses", action="store_true", help="list what was missed or blocked wrongly")
    add("--open", action="store_true", help="with --misses: list those of the held split too")
    options = parser.parse_args()
    for file in filter(None, (options.json, options.html)):
        if not Path(file).absolute().parent.is_dir():
            parser.error(f"{file} cannot be written: its folder does not exist")
    for folder in options.corpus:
        if not folder.exists():
            parser.error(f"--corpus {folder} does not exist")
    return options


def _add_texts(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which texts are played."""
    add = parser.add_argument
    add("--split", choices=["tuned", "held", "both", "none"], default="both")
    add(
        "--harvest",
        type=int,
        default=HARVESTED,
        metavar="N",
        help=f"innocent texts to take from this machine ({HARVESTED}; 0: none)",
    )
    add("--every", type=int, default=1, metavar="N", help="play every Nth case: a quick look")
    add(
        "--harvest-from",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="also harvest from these trees, such as a node_modules",
    )
    add(
        "--corpus",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="play all texts in these trees, or with `--as definition` the definitions that "
        "benchmarks.detection.servers stored in them, and list false blocks by rule",
    )
    add(
        "--as",
        dest="way",
        choices=["result", "arguments", "definition"],
        default="result",
        help="how texts of --corpus are sent: arguments and results have different rules",
    )
    add("--noise", type=int, metavar="N", help="play 32 KiB of each noise, N times each way")


def run(split: Split, options: argparse.Namespace, rules: Engines) -> Report:
    """Play one split and print its figures."""
    cases, left_out = load_apart(split)
    if left_out:
        print(f"{split.value}: {left_out} cases left out that tuned has word for word\n")
    if options.harvest:
        gathered = _gathered(options.harvest, tuple(options.harvest_from))
        cases += [case for case in gathered if case.split is split]
    cases = cases[:: max(1, options.every)]
    disguised = [case for case in cases if "text" not in case.views and not case.innocent]
    views = [(case, view) for case in cases for view in case.views]
    views += [(case, "text") for case in disguised]
    with say_if_slow(f"playing {len(views)} cases"):
        played = list(play_all(starmap(variant, views), rules))
    plays = played[: len(views) - len(disguised)]
    figures = report(split.value, plays, played[len(plays) :])
    show(figures)
    if options.misses:
        show_misses(split, plays, opened=options.open)
    return figures


_HARVEST: dict[tuple[int, tuple[Path, ...]], list[Case]] = {}


def _gathered(count: int, more: tuple[Path, ...]) -> list[Case]:
    """The harvested cases of both splits, read once."""
    if (count, more) not in _HARVEST:
        _HARVEST[count, more] = harvest.harvest(count, more)
    return _HARVEST[count, more]


def show(figures: Report) -> None:
    """Print the tables of one report."""
    print(table(f"=== {figures.split}", SUMMARY_HEADS, figures.summary()))
    for part in figures.tables:
        if part.rows:
            print(table(f"{figures.split}: {part.title}", part.heads, part.lines()), flush=True)


def show_misses(split: Split, plays: Iterable[Play], *, opened: bool) -> None:
    """Print what was missed or blocked wrongly; of the held split only on request."""
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


if __name__ == "__main__":
    main()
