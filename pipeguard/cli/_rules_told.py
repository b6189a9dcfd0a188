"""What `pipeguard rules test` tells, for people and for programs. No verb itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from pipeguard.core.unicode.display import cut, visible
from pipeguard.rulebook.benchmark import KINDS
from pipeguard.rulebook.mutations import Mutation

if TYPE_CHECKING:
    from pipeguard.rulebook.benchmark import Cost
    from pipeguard.rulebook.nearness import NearMisses, Nearness
    from pipeguard.rulebook.proof import Failure

SAMPLE_CHARS = 100  # of a sample that is shown
SLOWEST = 10  # rules that are listed


def failure_fields(failures: Iterable[Failure]) -> list[dict[str, str]]:
    """The samples that do not hold, for programs."""
    return [
        {"rule": one.rule, "surface": one.surface.value, "sample": one.sample, "what": one.what}
        for one in failures
    ]


def failures_page(failures: Iterable[Failure]) -> str:
    """The samples that do not hold, each with what was expected."""
    lines = []
    for one in failures:
        lines.append(f"{click.style(one.rule, fg='red')} ({one.surface.value}): {one.what}")
        lines.append(f"  {_sample(one.sample)}")
    return _page(lines)


def near_fields(nearness: Iterable[Nearness]) -> list[dict[str, object]]:
    """What matches when a little is changed, for programs."""
    return [
        {
            "rule": one.rule,
            "matches": {
                mutation.value: {
                    "tried": held.tried,
                    "matched": held.matched,
                    "confidence": _sure(held) or None,
                }
                for mutation, held in one.held.items()
            },
            "passes": [
                {"sample": close.sample, "mutation": close.mutation.value, "matches": close.text}
                for close in one.close
            ],
        }
        for one in nearness
    ]


def near_page(nearness: Sequence[Nearness]) -> str:
    """What matches when a little is changed, a line for each rule."""
    if not nearness:
        return ""
    width = max(len(one.rule) for one in nearness)
    titles = "  ".join(f"{mutation.value:<12}" for mutation in Mutation)
    lines = ["Mutated `matches` that still match, and how surely:", f"{'':<{width}}  {titles}"]
    lines += [
        f"{one.rule:<{width}}  "
        + "  ".join(f"{_kept(one.held.get(mutation)):<12}" for mutation in Mutation)
        for one in nearness
    ]
    close = [(one.rule, found) for one in nearness for found in one.close]
    if close:
        lines += ["", "`passes` that one mutation turns into a match:"]
    for rule, found in close:
        lines.append(f"{rule} ({found.mutation.value})")
        lines += [f"  {_sample(found.sample)}", f"  {_sample(found.text)}"]
    return _page([*(line.rstrip() for line in lines), ""])


def speed_fields(costs: Iterable[Cost]) -> list[dict[str, object]]:
    """What rules cost, for programs; the slowest first."""
    return [
        {
            "rule": one.rule,
            **{kind: share._asdict() for kind, share in one.kinds.items()},
            "warnings": list(one.warnings),
        }
        for one in sorted(costs, key=lambda one: -one.worst)
    ]


def speed_page(costs: Sequence[Cost]) -> str:
    """What the slowest rules cost, and which cost too much."""
    if not costs:
        return ""
    slowest = sorted(costs, key=lambda one: -one.worst)[:SLOWEST]
    width = max(len(one.rule) for one in slowest)
    titles = "  ".join(f"{kind:>16}" for kind in KINDS)
    lines = [
        "What a rule takes by itself, of a pass over all rules, and in how many blocks of text it",
        f"could match and does not; the slowest {len(slowest)} of {len(costs)}:",
        f"{'':<{width}}  {titles}",
    ]
    for one in slowest:
        cells = (
            f"{share.share:>7.1%} {share.false:>4}/{share.blocks:<3}"
            for share in one.kinds.values()
        )
        lines.append(f"{one.rule:<{width}}  " + "  ".join(f"{cell:>16}" for cell in cells))
    warned = [(one.rule, warning) for one in costs for warning in one.warnings]
    if warned:
        lines.append("")
    lines += [f"{click.style('warning', fg='yellow')}: {rule} {what}." for rule, what in warned]
    return _page([*lines, ""])


def _kept(held: NearMisses | None) -> str:
    if held is None:
        return "-"
    return f"{held.matched}/{held.tried} {_sure(held)}".rstrip()


def _sure(held: NearMisses) -> str:
    return "" if held.confidence is None else held.confidence.name.lower()


def _sample(text: str) -> str:
    return cut(visible(text), SAMPLE_CHARS)


def _page(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
