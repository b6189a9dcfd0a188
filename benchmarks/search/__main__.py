"""`python -m benchmarks.search`: how well a query finds the right tool, and what it costs."""

import argparse
import json
import platform
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import mean

from benchmarks.frames.figures import table
from benchmarks.search import menu_tokens, queries, scores, speed
from benchmarks.search.contenders import CONTENDERS, TIMED, PipeGuardSearch, Search
from benchmarks.search.queries import Part, Query, Split
from benchmarks.search.servers import Definitions, definitions

EXAMPLES = """
examples:
  python -m benchmarks.search                          all of it: three minutes of CPU time
  python -m benchmarks.search --only ranking           seconds
  python -m benchmarks.search --only ranking --split train --misses
  python -m benchmarks.search --only ranking --part paraphrase --json figures.json
  python -m benchmarks.search --only speed --largest 10000
  python -m benchmarks.search --gate                   1 if a peer finds more of any part
  python -m benchmarks.search --check                  are the queries in order?
"""
GATED = ("bm25s", "fts5")  # the product finds no less of any part than these
MISSED_BELOW = 5  # a query is missed where no tool of grade 2 is among the first five
ALL = "all"
Report = dict[str, object]


def main() -> None:
    """Measure what the arguments ask for, print tables, write JSON."""
    options = arguments()
    if options.check:
        sys.exit(check())
    chosen = [query for query in queries.load() if is_chosen(query, options)]
    if not chosen:
        sys.exit("no query is in this part and this half")
    listed = definitions()
    if options.gate:
        sys.exit(gate(listed, chosen))
    report: Report = {"python": platform.python_version(), "machine": platform.platform()}
    if options.only in (None, "ranking"):
        report["ranking"] = ranking(listed, chosen, show_misses=options.misses)
    if options.only in (None, "tokens"):
        report["tokens"] = tokens(listed, chosen)
    if options.only in (None, "speed"):
        report["speed"] = speeds(listed, chosen, options.largest)
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n", "utf-8")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="check the queries; 1 if one is wrong")
    parser.add_argument(
        "--gate", action="store_true", help="1 if a peer finds more of any part of the test half"
    )
    parser.add_argument("--only", choices=("ranking", "tokens", "speed"), help="measure only this")
    parser.add_argument("--part", choices=list(Part), help="only queries worded like this")
    parser.add_argument("--split", choices=list(Split), help="only this half of the queries")
    parser.add_argument(
        "--misses",
        action="store_true",
        help=f"print the queries for which PipeGuard's first {MISSED_BELOW} have no best tool",
    )
    parser.add_argument(
        "--largest", type=int, default=speed.SIZES[-1], help="the most tools for the speed"
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    return parser.parse_args()


def is_chosen(query: Query, options: argparse.Namespace) -> bool:
    """True if a query is in the part and the half that were asked for."""
    return options.part in (None, query.part) and options.split in (None, query.split)


def check() -> int:
    """Print the contents and faults of the set: return 1 if it has a fault."""
    loaded, listed = queries.load(), definitions()
    wrong = list(queries.problems(loaded, listed))
    counts = Counter(query.part.value for query in loaded)
    tools = sum(map(len, listed.values()))
    print(f"{tools} tools of {len(listed)} servers; {len(loaded)} queries:")
    print(", ".join(f"{count} {part}" for part, count in counts.items()))
    print(*wrong, sep="\n")
    return 1 if wrong else 0


def ranking(listed: Definitions, chosen: Sequence[Query], *, show_misses: bool) -> Report:
    """Rank the tools for each query with each contender, and print how good that is."""
    count = sum(map(len, listed.values()))
    print(f"{len(chosen)} queries, {count} tools of {len(listed)} servers. recall@k: the share of")
    print("queries with a tool of grade 2 among the first k. In brackets, the 95 % interval.\n")
    answerable = [query for query in chosen if query.part is not Part.NONE]
    doubt(PipeGuardSearch(listed), chosen)
    chosen = answerable
    rankings = {name: ranked(build(listed), chosen) for name, build in CONTENDERS.items()}
    report: Report = {"bm25s": version("bm25s"), "sqlite": sqlite3.sqlite_version}
    for half, of_half in halves(chosen).items():
        rows = []
        for part, numbers in parts(chosen, of_half).items():
            figures = {
                name: scores.means([scores.row(chosen[at], found[at]) for at in numbers])
                for name, found in rankings.items()
            }
            for name, means in figures.items():
                head = f"{part} ({len(numbers)})" if name == next(iter(figures)) else ""
                rows.append([head, name, *map(shown, means.values())])
            report[f"{half} {part}"] = {"queries": len(numbers)} | {
                name: {figure: mean._asdict() for figure, mean in means.items()}
                for name, means in figures.items()
            }
        print(table(f"{half} queries", ["", "", *scores.FIGURES], rows))
    if show_misses:
        print("\n".join(misses(chosen, rankings["pipeguard"])))
    return report


def gate(listed: Definitions, chosen: Sequence[Query]) -> int:
    """Compare on the half that nothing was tuned on; 1 if a peer finds more of any part."""
    test = [query for query in chosen if query.split is Split.TEST and query.part is not Part.NONE]
    found = {name: ranked(build(listed), test) for name, build in CONTENDERS.items()}
    worse = 0
    for part, numbers in parts(test, range(len(test))).items():
        recalls = {
            name: mean(scores.recall(test[at], of[at][:MISSED_BELOW]) for at in numbers)
            for name, of in found.items()
        }
        is_worse = any(recalls["pipeguard"] < recalls[peer] for peer in GATED)
        worse += is_worse
        figures = ", ".join(f"{name} {recall:.3f}" for name, recall in recalls.items())
        print(f"{'WORSE ' if is_worse else ''}{part} ({len(numbers)}): {figures}")
    return int(worse > 0)


def doubt(search: PipeGuardSearch, chosen: Sequence[Query]) -> None:
    """Print how often an answer says that perhaps no tool fits, rightly and wrongly."""
    for split in Split:
        told: dict[bool, list[bool]] = {True: [], False: []}
        for query in chosen:
            if query.split is split:
                is_doubtful = search.is_doubtful(query.ask, MISSED_BELOW)
                told[query.part is Part.NONE].append(is_doubtful)
        if told[True] and told[False]:
            print(
                f"{split}: of what no tool answers, {mean(told[True]):.0%} are told so;"
                f" of the rest, {mean(told[False]):.0%} are told so wrongly"
            )
    print()


def ranked(search: Search, chosen: Sequence[Query]) -> list[list[str]]:
    """The tools that a contender finds for each query."""
    return [search.find(query.ask, scores.DEEPEST) for query in chosen]


def halves(chosen: Sequence[Query]) -> dict[str, list[int]]:
    """The numbers of the queries of both halves and of each."""
    found = {
        split.value: [at for at, query in enumerate(chosen) if query.split is split]
        for split in Split
    }
    several = {name: numbers for name, numbers in found.items() if numbers}
    return several if len(several) == 1 else {ALL: list(range(len(chosen)))} | several


def parts(chosen: Sequence[Query], numbers: Sequence[int]) -> dict[str, list[int]]:
    """The numbers of the queries of each part, and at last of all, of those that are given."""
    found = {part.value: [at for at in numbers if chosen[at].part is part] for part in Part}
    several = {name: of_part for name, of_part in found.items() if of_part}
    return several if len(several) == 1 else several | {ALL: list(numbers)}


def misses(chosen: Sequence[Query], rankings: Sequence[Sequence[str]]) -> Iterator[str]:
    """The queries that missed, each with what it wanted and what came instead."""
    for query, found in zip(chosen, rankings, strict=True):
        place = scores.rank(query, found)
        if place is None or place > MISSED_BELOW:
            yield f"{query.split} {query.part}: {query.ask}"
            yield f"  wanted {', '.join(query.best)} (place {place or f'> {scores.DEEPEST}'})"
            yield f"  found  {', '.join(found[:MISSED_BELOW]) or 'nothing'}"


def tokens(listed: Definitions, chosen: list[Query]) -> Report:
    """Count and print what an agent reads."""
    counts = menu_tokens.measured(listed, chosen)
    rows = [
        ["menu", f"{counts.menu:,}"],
        ["answer at five tools, median", f"{counts.answer:,.0f}"],
        ["answer at five tools, longest", f"{counts.longest_answer:,}"],
        ["all definitions instead", f"{counts.all_definitions:,}"],
    ]
    print(table("tokens of o200k_base", ["", ""], rows))
    return dict(counts._asdict())


def speeds(listed: Definitions, chosen: Sequence[Query], largest: int) -> Report:
    """Time every contender at every size, and print it."""
    report: dict[str, list[Mapping[str, float]]] = {name: [] for name in TIMED}
    rows = []
    for size in (size for size in speed.SIZES if size <= largest):
        tools = speed.grown(listed, size)
        for name, build in TIMED.items():
            times = speed.measured(build, tools, chosen)
            report[name].append(times._asdict())
            milliseconds = (f"{figure:,.2f}" for figure in times[2:])
            rows.append([f"{size:,} {name}", f"{times.index_seconds:,.2f}", *milliseconds])
    heads = ["tools", "index s", "query ms p50", "p99", "CPU ms p50", "p99"]
    print(table("speed", heads, rows))
    return dict(report)


def shown(mean: scores.Mean) -> str:
    """A mean with its interval, to two digits."""
    return f"{mean.value:.2f} [{mean.low:.2f} {mean.high:.2f}]"


if __name__ == "__main__":
    main()
