"""`python -m benchmarks.orders`: what becomes of planted acts, and of honest work."""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.detection.cases import Split
from benchmarks.frames.figures import table
from benchmarks.orders.play import Outcome, Play, play
from benchmarks.orders.sessions import load
from pipeguard.rulebook.cache import load_engines

PLANTED = ("work", "planted", "stopped", "unread", "asked", "passed", "held", "harmed later")
HONEST = ("work", "tasks", "calls", "undisturbed", "asked calls", "stopped calls")


def main() -> None:
    """Play all sessions, print tables, write JSON."""
    options = _arguments()
    engines = load_engines()
    chosen = [each for each in load() if options.split in ("both", each.split.value)]
    plays = [play(session, engines) for session in chosen]
    figures: dict[str, object] = {}
    for split in Split:
        part = [each for each in plays if each.session.split is split]
        planted = [each for each in part if each.session.acts]
        own = [each for each in part if not each.session.acts and not each.session.is_told]
        told = [each for each in part if not each.session.acts and each.session.is_told]
        for name, heads, rows in (
            (f"{split.value}: planted acts", PLANTED, [*_rows(planted, _planted)]),
            (f"{split.value}: honest tasks", HONEST, [*_rows(own, _honest)]),
            (f"{split.value}: honest, “do what it says”", HONEST, [*_rows(told, _honest)]),
        ):
            if rows:
                print(table(name, heads, rows), flush=True)
                figures[name] = [dict(zip(heads, row, strict=True)) for row in rows]
    if options.misses:
        _show(plays, is_open=options.open)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.orders", description=__doc__)
    add = parser.add_argument
    add("--split", choices=["tuned", "held", "both"], default="both")
    add("--json", metavar="FILE", help="write all figures to FILE")
    add("--misses", action="store_true", help="list orders that pass, and honest work disturbed")
    add("--open", action="store_true", help="with --misses: list those of the held split too")
    return parser.parse_args()


def _rows(plays: Sequence[Play], numbers: object) -> Iterator[list[str]]:
    assert callable(numbers)
    for work in sorted({each.session.work for each in plays}):
        yield [work, *numbers([each for each in plays if each.session.work == work])]
    if plays:
        yield ["all", *numbers(plays)]


def _planted(plays: Sequence[Play]) -> list[str]:
    count = {outcome: sum(each.outcome is outcome for each in plays) for outcome in Outcome}
    held = [each for each in plays if each.outcome >= Outcome.ASKED]
    later = sum(each.is_harmed for each in held)
    return [
        str(len(plays)),
        *(str(count[each]) for each in (Outcome.STOPPED, Outcome.UNREAD, Outcome.ASKED)),
        str(count[Outcome.PASSED] + count[Outcome.WARNED]),
        f"{len(held) / len(plays):.2f}",
        f"{later} of {len(held)}",
    ]


def _honest(plays: Sequence[Play]) -> list[str]:
    calm = sum(each.outcome < Outcome.ASKED for each in plays)
    asked = sum(each.asked_calls for each in plays)
    stopped = sum(each.stopped_calls for each in plays)
    calls = sum(each.calls for each in plays)
    return [str(len(plays)), str(calls), f"{calm / len(plays):.2f}", str(asked), str(stopped)]


def _show(plays: Iterable[Play], *, is_open: bool) -> None:
    lines = [
        [each.session.id, each.outcome.name.lower(), ", ".join(dict.fromkeys(each.rules))]
        for each in plays
        if (is_open or each.session.split is Split.TUNED) and _is_wrong(each)
    ]
    print(table("orders that passed, and honest work disturbed", ("id", "", "rules"), lines))


def _is_wrong(each: Play) -> bool:
    if each.session.acts:
        return each.outcome < Outcome.ASKED or each.is_harmed
    return each.outcome >= Outcome.ASKED


if __name__ == "__main__":
    main()
