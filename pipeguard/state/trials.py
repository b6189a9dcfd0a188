"""A change of the policy, tried on the recorded audit before it is made.

The audit has the findings of each message, not the message: if an action depends on more than the
findings, the outcome is unknown.
"""

from collections.abc import Sequence
from typing import NamedTuple

from pipeguard.firewall.finding import Action, Confidence, Severity
from pipeguard.firewall.policy import Exempt, Mode, Policy, PolicyTarget
from pipeguard.firewall.protocol.places import Surface
from pipeguard.firewall.session.guard import EXEMPT
from pipeguard.firewall.session.remedies import Way, find_remedy
from pipeguard.state.audit import AuditFilter, AuditRow, chains, parse_findings, rows
from pipeguard.state.decisions import EXCEPTION
from pipeguard.state.exceptions import DECISION, STOPPED, enforced_action
from pipeguard.state.pins import Store

MORE = "audit.more"  # replaces findings that did not fit into a row


class Outcomes(NamedTuple):
    """The events whose outcome a change would alter.

    Attributes:
        changed: that would be stopped or changed, or would pass.
        unknown: whose outcome the audit cannot tell.
    """

    changed: int = 0
    unknown: int = 0


class ExceptionUse(NamedTuple):
    """The use of an exception, as the audit has it.

    Attributes:
        times: that it let an event pass.
        is_least: True if there may be more, missing from the audit.
        since: the first time that counts (ISO 8601, UTC); empty if the audit has no row.
        is_dated: True if that is when the exception was written, not when the audit begins.
        removal: the outcomes without the exception.
    """

    times: int
    is_least: bool
    since: str
    is_dated: bool
    removal: Outcomes


def try_mode(store: Store, mode: Mode, since: str) -> Outcomes:
    """Count the events after a moment that another mode would have treated otherwise.

    Raises:
        StateError: the store cannot be read.
    """
    if mode is Mode.ENFORCE:
        found = (row for row in rows(store, AuditFilter(since=since, note='"would"')))
        would = [[enforced_action(each) for each in parse_findings(row.entry)] for row in found]
        return Outcomes(sum(any(action in STOPPED for action in each) for each in would))
    outcomes = [
        _passes_observed(row)
        for row in rows(store, AuditFilter(since=since, is_stopped=True))
        if row.entry.action in STOPPED and row.entry.kind != DECISION
    ]
    return Outcomes(outcomes.count(True), outcomes.count(None))


def _passes_observed(row: AuditRow) -> bool | None:
    """True if `observe` would have let an event pass; None if the audit cannot tell."""
    rules = [each["rule"] for each in parse_findings(row.entry) if each.get("action") in STOPPED]
    if not rules or MORE in rules:
        return None
    ways = {find_remedy(rule).way for rule in rules}
    if ways <= {Way.EXCEPTION, Way.APPROVE}:
        return True
    return None if Way.POLICY in ways else False


def find_uses(
    store: Store, exempts: Sequence[Exempt], policy: Policy, path: str, since: str
) -> list[ExceptionUse]:
    """The use of each exception of the user's file.

    Args:
        store: the store.
        exempts: the exceptions.
        policy: that applies.
        path: of the file.
        since: the beginning of the time for which its removal is tried (ISO 8601, UTC).

    Raises:
        StateError: the store cannot be read.
    """
    passed = list(rows(store, AuditFilter(note=EXEMPT)))
    allowed = list(rows(store, AuditFilter(action="allow", note=EXCEPTION)))
    begin = next((chain.started for chain in chains(store)), "")
    uses = []
    for exempt in exempts:
        note = f"{EXCEPTION}{path} ({exempt.why})"
        written = [
            row.entry.time
            for row in allowed
            if any(each.get("note", "").startswith(note) for each in parse_findings(row.entry))
        ]
        start = max(written, default=begin)
        fits = [_fits(row, exempt) for row in passed if row.entry.time >= start]
        removal = _try_removal([row for row in passed if row.entry.time >= since], exempt, policy)
        use = ExceptionUse(fits.count(True), None in fits, start, bool(written), removal)
        uses.append(use)
    return uses


def _fits(row: AuditRow, exempt: Exempt) -> bool | None:
    """True if an exception let something of an event pass; None if the audit cannot tell."""
    is_unknown = False
    for finding in parse_findings(row.entry):
        is_unknown = is_unknown or finding["rule"] == MORE
        if finding.get("note") != EXEMPT:
            continue
        if exempt.where.fits(make_target(finding, row.server)):
            return True
        wide = exempt.where._replace(path="", host="")
        is_named = bool(finding.get("path") or finding.get("host"))
        is_unknown = is_unknown or (wide.fits(make_target(finding, row.server)) and not is_named)
    return None if is_unknown else False


def _try_removal(passed: Sequence[AuditRow], exempt: Exempt, policy: Policy) -> Outcomes:
    removed = (exempt.where, exempt.why)
    layers = []
    for layer in policy.layers:
        kept = tuple(each for each in layer.exceptions if (each.where, each.why) != removed)
        layers.append(layer._replace(exceptions=kept))
    policy = policy._replace(layers=tuple(layers))
    outcomes = [
        _stops(row, exempt, policy) if fits else fits
        for row in passed
        if (fits := _fits(row, exempt)) is not False
    ]
    return Outcomes(outcomes.count(True), outcomes.count(None))


def _stops(row: AuditRow, exempt: Exempt, policy: Policy) -> bool | None:
    """True if a policy stops or changes an event that an exception let pass; None if it may."""
    surface = Surface.TO_CLIENT if row.entry.direction == "to-client" else Surface.TO_SERVER
    is_call = row.entry.method == "tools/call" and surface is Surface.TO_SERVER
    found = set[bool]()
    for finding in parse_findings(row.entry):
        target = make_target(finding, row.server) if finding.get("note") == EXEMPT else None
        if target is not None and exempt.where.fits(target):
            for is_cuttable in (False, True):  # the audit does not have it
                seen = target._replace(surface=surface, is_call=is_call, is_cuttable=is_cuttable)
                found.add(policy.action(seen, 0.0) >= Action.REDACT)
    return found == {True} if len(found) < 2 else None


def make_target(finding: dict[str, str], server: str) -> PolicyTarget:
    """A finding of the audit as a policy sees it."""
    return PolicyTarget(
        finding["rule"],
        Severity[finding["severity"].upper()],
        Confidence[finding["confidence"].upper()],
        *(finding["place"], server, finding.get("tool") or None, Surface.TO_CLIENT),
        content=finding.get("content", ""),
        paths=tuple(filter(None, [finding.get("path", "")])),
        hosts=tuple(filter(None, [finding.get("host", "")])),
    )
