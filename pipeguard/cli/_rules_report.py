"""The output of `pipeguard rules test`, for people and for programs. Not a command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from pipeguard.rulebook.benchmark import KINDS
from pipeguard.rulebook.nearness import Mutation
from pipeguard.unicode.display import cut, visible

if TYPE_CHECKING:
    from pipeguard.rulebook.benchmark import Cost
    from pipeguard.rulebook.nearness import NearMisses, Nearness
    from pipeguard.rulebook.proof import SampleFailure

SAMPLE_CHARS = 100  # shown of a sample
SLOWEST = 10  # rules listed


def failure_fields(failures: Iterable[SampleFailure]) -> list[dict[str, str]]:
    """The samples that fail, for programs."""
    return [
        {
            "rule": failure.rule,
            "surface": failure.surface.value,
            "sample": failure.sample,
            "what": failure.what,
        }
        for failure in failures
    ]


def failures_page(failures: Iterable[SampleFailure]) -> str:
    """The samples that fail, each with what was expected."""
    lines = []
    for failure in failures:
        rule = click.style(failure.rule, fg="red")
        lines.append(f"{rule} ({failure.surface.value}): {failure.what}")
        lines.append(f"  {_sample(failure.sample)}")
    return _page(lines)


def near_fields(nearness: Iterable[Nearness]) -> list[dict[str, object]]:
    """Report what still matches after a small change, as JSON."""
    return [
        {
            "rule": row.rule,
            "matches": {
                mutation.value: {
                    "tried": misses.tried,
                    "matched": misses.matched,
                    "confidence": _confidence(misses) or None,
                }
                for mutation, misses in row.mutated.items()
            },
            "passes": [
                {"sample": close.sample, "mutation": close.mutation.value, "matches": close.text}
                for close in row.close_misses
            ],
        }
        for row in nearness
    ]


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


def speed_fields(costs: Iterable[Cost]) -> list[dict[str, object]]:
    """Report what rules cost, as JSON; slowest first."""
    return [
        {
            "rule": cost.rule,
            **{kind.lower(): share._asdict() for kind, share in cost.kinds.items()},
            "warnings": list(cost.warnings),
        }
        for cost in sorted(costs, key=lambda cost: -cost.worst)
    ]


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
    lines += [f"{click.style('warning', fg='yellow')}: {rule} {what}." for rule, what in warnings]
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
