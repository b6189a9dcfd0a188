"""Judges the HTTP headers of a client by the rules for arguments."""

from __future__ import annotations

from collections.abc import Sequence

from pipeguard.errors import Refusal
from pipeguard.firewall.finding import Action, Direction, Finding, Verdict, greatest
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, serialise
from pipeguard.firewall.protocol.places import Surface
from pipeguard.firewall.session.envelope import blocked
from pipeguard.firewall.session.guard import Context, Guard


def judge_headers(
    guard: Guard, headers: Sequence[tuple[str, str]], now: float, event: str
) -> tuple[frozenset[str], Verdict]:
    """Judge the headers of one request (RFC 9110, section 5).

    Args:
        guard: whose rules and policy apply.
        headers: names and values, in UTF-8; a name may occur more than once.
        now: seconds on the session's clock.
        event: names the verdict.

    Returns:
        The names, in lower case, of the headers that must not go on, and the verdict on all.
    """
    given: JsonObject = {}
    for name, value in headers:
        values = given.setdefault(name.lower(), [])
        if isinstance(values, list):
            values.append(value)
    try:
        findings = _findings(guard, given, now)
        stopped = _stopped_names(guard, given, now) if _stop(findings) else frozenset[str]()
    except Refusal as refusal:  # what cannot be judged does not go on
        findings, stopped = [blocked(refusal.rule, refusal.why)], frozenset(given)
    action = greatest(findings)
    frame = serialise(given)
    verdict = Verdict(Direction.TO_SERVER, frame, action, None, None, tuple(findings), event)
    return stopped, verdict


def _stopped_names(guard: Guard, given: JsonObject, now: float) -> frozenset[str]:
    names = {name for name in given if _stop(_findings(guard, {name: given[name]}, now))}
    rest: dict[str, JsonValue] = {name: given[name] for name in given.keys() - names}
    if names and not _stop(_findings(guard, rest, now)):
        return frozenset(names)
    return frozenset(given)  # what was found is split over several headers


def _findings(guard: Guard, given: JsonObject, now: float) -> list[Finding]:
    context = Context(guard, "headers", None, now)
    return guard.detector.read(context, Surface.TO_SERVER, {"headers": given})


def _stop(findings: list[Finding]) -> bool:
    return greatest(findings) >= Action.REDACT
