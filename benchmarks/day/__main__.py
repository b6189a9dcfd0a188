"""`python -m benchmarks.day`: how often a developer's day is disturbed, and what is stopped."""

import argparse
import json
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.day.actions import Expect, load
from benchmarks.day.outside import play_outside
from benchmarks.day.play import Outcome, Play, play
from benchmarks.detection.cases import Split
from benchmarks.frames.client import Wrapper
from benchmarks.frames.figures import table
from pipeguard.rulebook.cache import load_engines

SHOWN_RULES = 3
ORDER = sorted(Outcome, reverse=True)
HEADS = ("kind", "actions", *(outcome.name.lower() for outcome in ORDER), "wrong")


def main() -> None:
    """Play all actions, print tables, write JSON."""
    options = arguments()
    chosen = [each for each in load() if options.split in ("both", each.split.value)]
    for wrapper in options.wrapper:
        with TemporaryDirectory() as cache:
            plays = [play_outside(action, wrapper, cache) for action in chosen]
        lines = [[name, *map(str, _numbers(part))] for name, part in parts(plays).items()]
        print(table(shlex.join(wrapper.words), HEADS, lines), flush=True)
        if options.misses:
            show(plays, opened=options.open)
    if options.wrapper:
        return
    engines = load_engines()
    plays = [play(action, engines) for action in chosen]
    for name, part in parts(plays).items():
        print(table(name, HEADS, list(rows(part))), flush=True)
    if options.misses:
        show(plays, opened=options.open)
    if options.json:
        figures = {name: figures_of(part) for name, part in parts(plays).items()}
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.day", description=__doc__)
    add = parser.add_argument
    add("--split", choices=["tuned", "held", "both"], default="both")
    add("--json", metavar="FILE", help="write all figures to FILE")
    add("--misses", action="store_true", help="list what happened wrongly, and every redaction")
    add("--open", action="store_true", help="with --misses: list those of the held split too")
    text = "play them through this command, from outside; may be repeated"
    add("--wrapper", metavar="CMD", type=Wrapper.parse, action="append", default=[], help=text)
    return parser.parse_args()


def parts(plays: Sequence[Play]) -> dict[str, list[Play]]:
    """The plays by what they are of: actions and twins of each split."""
    found: dict[str, list[Play]] = {}
    for split in Split:
        for name, is_twin in (("actions of a day", False), ("twins that are stopped", True)):
            part = [
                each
                for each in plays
                if each.action.split is split and (each.action.expect is Expect.STOP) == is_twin
            ]
            if part:
                found[f"{split.value}: {name}"] = part
    return found


def rows(plays: Iterable[Play]) -> Iterable[list[str]]:
    """A row of numbers for each kind, and their sum."""
    kinds: dict[str, list[Play]] = {}
    for each in plays:
        kinds.setdefault(each.action.kind, []).append(each)
    for kind in sorted(kinds):
        yield [kind, *map(str, _numbers(kinds[kind]))]
    yield ["all", *map(str, _numbers([each for part in kinds.values() for each in part]))]


def figures_of(plays: Sequence[Play]) -> dict[str, dict[str, int]]:
    """The numbers by kind, for JSON."""
    heads = HEADS[1:]
    return {
        line[0]: dict(zip(heads, map(int, line[1:]), strict=True))
        for line in map(list, rows(plays))
    }


def _numbers(plays: Sequence[Play]) -> list[int]:
    outcomes = Counter(each.outcome for each in plays)
    wrong = sum(not each.is_right for each in plays)
    return [len(plays), *(outcomes[outcome] for outcome in ORDER), wrong]


def show(plays: Iterable[Play], *, opened: bool) -> None:
    """Print what happened wrongly, and what was redacted."""
    lines = [
        [
            each.action.id,
            each.action.kind,
            each.action.expect.value,
            each.outcome.name.lower(),
            ", ".join(each.rules[:SHOWN_RULES]),
        ]
        for each in plays
        if (opened or each.action.split is Split.TUNED)
        and (not each.is_right or _is_redacted_needlessly(each))
    ]
    heads = ("action", "kind", "expected", "became", "rules")
    print(table("wrong, or redacted", heads, lines), flush=True)


def _is_redacted_needlessly(each: Play) -> bool:
    return each.action.expect is Expect.PASS and each.outcome is Outcome.REDACTED


if __name__ == "__main__":
    main()
