"""`python -m benchmarks.orders`: what becomes of planted acts, and of honest work."""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from benchmarks.detection.cases import Split
from benchmarks.frames.figures import table
from benchmarks.orders.play import Outcome, Play, play
from benchmarks.orders.sessions import Session, load
from pipeguard.rulebook.cache import load_engines

PLANTED = ("work", "planted", "stopped", "unread", "asked", "passed", "held", "harmed later")
HONEST = ("work", "tasks", "calls", "undisturbed", "asked calls", "stopped calls")


class HasSession(Protocol):
    """An outcome of a session."""

    @property
    def session(self) -> Session:
        """The session that was played."""


Played = TypeVar("Played", bound=HasSession)


def main() -> None:
    """Play sessions, print tables, write JSON."""
    options = _arguments()
    engines = load_engines()
    chosen = [each for each in load() if options.split in ("both", each.split.value)]
    if options.real:
        from benchmarks.orders import real  # its servers are installed on first use

        reals = real.play_all(chosen, engines, options.real, asks=not options.warn)
        planted, honest = (real.PLANTED, real.count_planted), (real.HONEST, real.count_honest)
        figures = _report(reals, planted, honest)
        shown = [each for each in reals if options.open or each.session.split is Split.TUNED]
        print(real.differences(shown))
    else:
        plays = [play(session, engines) for session in chosen]
        figures = _report(plays, (PLANTED, _planted), (HONEST, _honest))
        if options.misses:
            _show(plays, is_open=options.open)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def _report(
    plays: Sequence[Played],
    planted: tuple[Sequence[str], Callable[[Sequence[Played]], list[str]]],
    honest: tuple[Sequence[str], Callable[[Sequence[Played]], list[str]]],
) -> dict[str, object]:
    """Print the tables, of these heads and figures, and return them."""
    figures: dict[str, object] = {}
    for split in Split:
        part = [each for each in plays if each.session.split is split]
        tasks = [each for each in part if not each.session.acts]
        own = [each for each in tasks if not each.session.is_told]
        told = [each for each in tasks if each.session.is_told]
        for name, (heads, numbers), chosen in (
            ("planted acts", planted, [each for each in part if each.session.acts]),
            ("honest tasks", honest, own),
            ("honest, “do what it says”", honest, told),
        ):
            if chosen:
                rows = [*_rows(chosen, numbers)]
                print(table(f"{split.value}: {name}", heads, rows), flush=True)
                figures[f"{split.value}: {name}"] = [
                    dict(zip(heads, row, strict=True)) for row in rows
                ]
    return figures


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.orders", description=__doc__)
    add = parser.add_argument
    add("--split", choices=["tuned", "held", "both"], default="both")
    add("--json", metavar="FILE", help="write all figures to FILE")
    add("--misses", action="store_true", help="list orders that pass, and honest work disturbed")
    add("--open", action="store_true", help="list those of the held split too")
    add("--real", nargs="?", const="wrap", choices=["wrap", "serve"], help="play with real servers")
    add("--warn", action="store_true", help="with --real: orders that are likely only warn")
    return parser.parse_args()


def _rows(
    plays: Sequence[Played], numbers: Callable[[Sequence[Played]], list[str]]
) -> Iterator[list[str]]:
    for work in sorted({each.session.work for each in plays}):
        yield [work, *numbers([each for each in plays if each.session.work == work])]
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
