"""Compares records with their replay: what would be stopped now, what passes, what else changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from operator import itemgetter
from pathlib import Path

from pipeguard.detect.detector import Engines
from pipeguard.firewall.finding import Action, Verdict, worst
from pipeguard.firewall.policy import Policy
from pipeguard.firewall.session.look import CALL
from pipeguard.replay.player import Player
from pipeguard.state.record.lines import Fields, RecordError, read_lines
from pipeguard.unicode.display import visible

KINDS = ("stopped", "passed", "changed")
_GROUP = itemgetter("from", "method", "tool", "rule", "before", "after")


def compare(
    engines: Engines, records: Sequence[str | Path], policy: Policy | None = None
) -> Fields:
    """Replay records, and compare.

    Args:
        engines: the compiled rules.
        records: their files.
        policy: by which frames are judged; None for the recorded one.

    Returns:
        How many `records`, `frames`, `calls` and `withheld` frames there are, and the differences:
        `stopped` would be stopped now, `passed` would pass, and `changed` have another action or
        other rules.

    Raises:
        RecordError: a record cannot be read, or was changed.
    """
    report: Fields = {"records": len(records), "frames": 0, "calls": 0, "withheld": 0}
    report |= {kind: [] for kind in KINDS}
    for record in records:
        player = Player(engines, policy)
        for number, fields in read_lines(record):
            try:
                _add(report, str(record), fields, player.play(fields))
            except Exception as error:  # noqa: BLE001  a record may have anything
                raise RecordError(
                    f"{record}, line {number}: it has no meaning ({type(error).__name__})."
                ) from None
    return report


def _add(report: Fields, record: str, fields: Fields, verdict: Verdict | None) -> None:
    """Add a line to a report."""
    report["frames"] += "from" in fields
    report["withheld"] += "withheld" in fields
    if verdict is None or "action" not in fields:
        return
    report["calls"] += fields.get("from") == "client" and verdict.method == CALL
    rules, before, after = {*fields["rules"]}, Action[fields["action"].upper()], verdict.action
    if before is after and rules == {each.rule for each in verdict.findings}:
        return
    kind = "changed"
    if (before < Action.ASK) is not (after < Action.ASK):
        kind = "stopped" if before < after else "passed"
    report[kind].append(
        {
            "record": record,
            "n": fields["n"],
            "event": fields["event"],
            "from": fields.get("from", "client"),  # or a decision about its call
            "method": verdict.method,
            "tool": verdict.tool,
            "rule": _find_rule(rules, verdict),
            "before": fields["action"],
            "after": after.name.lower(),
        }
    )


def _find_rule(rules: set[str], verdict: Verdict) -> str:
    """The rule that finds something only now; else one that finds nothing now, or the worst."""
    gone = rules.difference(each.rule for each in verdict.findings)
    fresh = [each for each in verdict.findings if each.rule not in rules]
    found = fresh or (not gone and verdict.findings)
    return worst(found).rule if found else min(gone, default="")


def render(report: Fields, form: str = "table", failing: Collection[str] = KINDS) -> str:
    """Render a report as a table for people, or as JUnit's XML.

    Args:
        report: from `compare`.
        form: `table` or `junit`.
        failing: the kinds of differences that are failures for JUnit; others are skipped.
    """
    from jinja2 import Environment, PackageLoader

    groups = Counter((kind, *_GROUP(each)) for kind in KINDS for each in report[kind])
    environment = Environment(
        loader=PackageLoader("pipeguard.replay", ""),
        autoescape=True,
        finalize=lambda value: visible(str(value)),
    )
    return (
        environment.get_template(f"{form}.j2")
        .render(report=report, failing=failing, groups=groups.most_common())
        .strip()
    )
