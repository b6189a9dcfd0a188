"""`python -m benchmarks.rules`: what rules cost, and how near samples are to their borders."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks.rules import databases
from benchmarks.rules.cost import KINDS, Cost, costs
from benchmarks.rules.expressions import slowness
from benchmarks.rules.nearness import Mutation, NearMisses, Nearness, near_all
from pipeguard.detect.rules.rule import Rule
from pipeguard.detect.scanning.engine import Engine, compile_engine
from pipeguard.firewall.protocol.places import Surface
from pipeguard.rulebook.packs import PackFile, load_rules, model
from pipeguard.runtime.progress import wait_for_engines
from pipeguard.unicode.display import cut, visible

SAMPLE_CHARS = 100  # shown of a sample
SLOWEST = 10  # rules listed


def main() -> None:
    """Measure the rules that the arguments name."""
    options = arguments()
    packs = None
    if options.file:
        packs = [PackFile(options.file, Path(options.file).read_bytes(), shipped=False)]
    every = load_rules(packs)
    if options.databases:
        sys.exit(show_databases(every))
    rules = [rule for rule in every if fnmatchcase(rule.id, options.rule)]
    engines = wait_for_engines()
    homes: Sequence[Engine] = engines
    if options.file:
        homes = [compile_engine(every, surface, model) for surface in Surface]
    if not options.speed:
        print(near_page(list(near_all(rules, homes))))
    if not options.near_miss:
        print(speed_page(list(costs(rules, homes, engines))))
        for rule in rules:
            for pattern, what in slowness(rule):
                print(f"{rule.id}: {pattern} {what}.")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rules", description=__doc__)
    parser.add_argument("file", nargs="?", default="", help="a pack; without it, all packs")
    parser.add_argument("--rule", metavar="GLOB", default="*", help="only rules of these ids")
    parser.add_argument("--speed", action="store_true", help="only measure what rules cost")
    parser.add_argument("--near-miss", action="store_true", help="only change samples")
    parser.add_argument(
        "--databases",
        action="store_true",
        help="only measure databases; fail if a pattern costs more than costly.yaml says",
    )
    return parser.parse_args()


def show_databases(rules: Sequence[Rule]) -> int:
    """Print what databases cost, and patterns that cost too much; returns 1 if one does."""
    print(databases.show(rules), flush=True)
    allowed = databases.reasons()
    measured = databases.costs(rules, allowed)
    costly = list(databases.find_costly(measured, allowed))
    print("\n".join((*costly, *databases.find_needless(measured, allowed))))
    return int(bool(costly))


def near_page(nearness: Sequence[Nearness]) -> str:
    """Report what still matches after a small change, a line for each rule."""
    if not nearness:
        return ""
    width = max(len(row.rule) for row in nearness)
    titles = "  ".join(f"{mutation.value:<12}" for mutation in Mutation)
    lines = ["Mutated `matches` that still match, and how surely:", f"{'':<{width}}  {titles}"]
    lines += [
        f"{row.rule:<{width}}  "
        + "  ".join(f"{_match_cell(row.mutated.get(mutation)):<12}" for mutation in Mutation)
        for row in nearness
    ]
    close_calls = [(row.rule, close) for row in nearness for close in row.close_misses]
    if close_calls:
        lines += ["", "`passes` that one mutation turns into a match:"]
    for rule, close in close_calls:
        lines.append(f"{rule} ({close.mutation.value})")
        lines += [f"  {_sample(close.sample)}", f"  {_sample(close.text)}"]
    return _page([*(line.rstrip() for line in lines), ""])


def speed_page(costs: Sequence[Cost]) -> str:
    """Report what the slowest rules cost, and which cost too much."""
    if not costs:
        return ""
    slowest = sorted(costs, key=lambda cost: -cost.worst)[:SLOWEST]
    width = max(len(cost.rule) for cost in slowest)
    titles = "  ".join(f"{kind:>16}" for kind in KINDS)
    lines = [
        "Each rule's own time as a share of a pass over all rules, and the blocks of text in which",
        f"it could match but does not; the slowest {len(slowest)} of {len(costs)}:",
        f"{'':<{width}}  {titles}",
    ]
    for cost in slowest:
        cells = (
            f"{share.share:>7.1%} {share.false:>4}/{share.blocks:<3}"
            for share in cost.kinds.values()
        )
        lines.append(f"{cost.rule:<{width}}  " + "  ".join(f"{cell:>16}" for cell in cells))
    warnings = [(cost.rule, warning) for cost in costs for warning in cost.warnings]
    if warnings:
        lines.append("")
    lines += [f"warning: {rule} {what}." for rule, what in warnings]
    return _page([*lines, ""])


def _match_cell(misses: NearMisses | None) -> str:
    if misses is None:
        return "-"
    return f"{misses.matched}/{misses.tried} {_confidence(misses)}".rstrip()


def _confidence(misses: NearMisses) -> str:
    return "" if misses.confidence is None else misses.confidence.name.lower()


def _sample(text: str) -> str:
    return cut(visible(text), SAMPLE_CHARS)


def _page(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
