"""Explanations of rules and events for people: the words that the commands and the page share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipeguard.firewall.session.remedies import LOST, Way, find_remedy, is_held
from pipeguard.rulebook.reference import find_sure_action, usual_action
from pipeguard.rulebook.rule_texts import FAMILIES, TITLES
from pipeguard.rulebook.samples import texts
from pipeguard.state.exceptions import STOPPED, decisive, enforced_action, is_wall, stopping
from pipeguard.state.paths import existing_store
from pipeguard.state.review import HeldDefinition
from pipeguard.state.schema import MAX_NAME_CHARS
from pipeguard.state.store import Store
from pipeguard.unicode.display import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeguard.detect.rules.rule import Rule
    from pipeguard.state.decisions import SinceThen
    from pipeguard.state.exceptions import AuditedEvent

GIVE = "Give the server exactly that:"
GIVEN_BY_NOW = "Nothing: your policy now grants what the server wanted."
OUTCOMES = {
    "allow": "PipeGuard let it pass.",
    "warn": "PipeGuard let it pass, with a warning.",
    "redact": "PipeGuard let it pass, with placeholders in place of what it found.",
    "cut": "PipeGuard let it pass without the passages below; a line is in place of each.",
    "ask": "PipeGuard held it for your decision.",
    "block": "PipeGuard blocked it.",
}
_KINDS = {
    "isolation.read": "to read {}",
    "isolation.write": "to change {}",
    "isolation.port": "port {} of this machine",
}
_FAILED = "The server is isolated. What it wanted is granted, but could not be reached."
_REFUSED = "The server is isolated, and did not get what it wanted."


def is_file(finding: dict[str, str]) -> bool:
    """True if a failed answer named a file that the server is not given."""
    return is_wall(finding["rule"]) and bool(finding.get("pointer"))


def describe_outcome(event: AuditedEvent) -> str:
    """Say what became of a message, or of what an isolated server wanted."""
    usual = OUTCOMES.get(event.action, f"PipeGuard's action was {event.action}.")
    blocking = [each["rule"] for each in event.findings if each.get("action") == "block"]
    if is_held(blocking):
        usual = "PipeGuard held it for your approval."
    if any(each["rule"] == LOST for each in event.findings):
        usual = "No answer came. PipeGuard blocked nothing."
    return describe_wall_outcome(event) or usual


def describe_wall_outcome(event: AuditedEvent) -> str:
    """Say what became of a server's request; empty for an event that is no wall."""
    if not event.findings or not all(is_wall(each["rule"]) for each in event.findings):
        return ""
    if all(map(is_file, event.findings)):
        return _REFUSED
    if any(each["rule"] == "egress.failed" for each in event.findings):
        return _FAILED
    return _REFUSED if event.action == "block" else ""


def describe_request(finding: dict[str, str]) -> str:
    """Describe what a server wanted, as the end of a sentence."""
    subject = finding.get("path") or finding.get("excerpt", "")
    host = finding.get("host", "")
    text = _KINDS.get(finding["rule"], "{}").format(subject)
    leads = host and finding["rule"] == "egress.address" and not subject.startswith(host)
    return f"{host}, whose name leads to {text}" if leads else text


def rule_fields(rule: Rule) -> dict[str, object]:
    """A rule for programs, with an example of what it finds."""
    return {
        "rule": rule.id,
        "title": rule.title,
        "severity": rule.severity.name.lower(),
        "confidence": rule.confidence.name.lower(),
        "default_action": usual_action(rule).name.lower(),
        "sure_action": find_sure_action(rule).name.lower(),
        "surfaces": sorted(surface.value for surface in rule.surfaces),
        "places": list(rule.places),
        "views": sorted(view.value for view in rule.views),
        "why": rule.why,
        "fix": rule.fix,
        **describe_way(rule.id),
        "owasp": rule.owasp,
        "example": find_example(rule),
        "near_miss": texts(rule.passes[0])[0],
    }


def describe_way(rule: str) -> dict[str, object]:
    """The remedy for a rule, for programs."""
    remedy = find_remedy(rule)
    return {"way": remedy.way.value, "policy_key": remedy.key}


def find_example(rule: Rule) -> str:
    """The rule's first sample, with its recipe filled in."""
    return texts(rule.matches[0])[0]


def describe_rule(rule: str, rules: dict[str, Rule]) -> dict[str, str]:
    """The title of a rule, why it matters, and what to do."""
    if rule in rules:
        return {"title": rules[rule].title, "why": rules[rule].why, "fix": rules[rule].fix}
    about = FAMILIES.get(rule) or FAMILIES.get(rule.partition(".")[0])
    if about is None:
        return {"title": "", "why": "This rule is no longer installed.", "fix": ""}
    title = TITLES.get(rule) or TITLES[rule.partition(".")[0]]
    return {"title": title, "why": about, "fix": find_remedy(rule).advice}


class DriftChanges(NamedTuple):
    """The changes that an event waited for.

    Attributes:
        lines: each in short; empty if they no longer wait.
        newer: the definitions that changed again, each with the time since which that change waits.
    """

    lines: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()


def find_changes(event: AuditedEvent, since: SinceThen) -> DriftChanges:
    """Find the changes that an event waited for among those that wait now."""
    path = existing_store()
    names = {each.get("tool") for each in event.findings if each["rule"] == "trust.drifted"}
    if path is None or not names or event.is_of_demo or since.is_settled:
        return DriftChanges()
    with Store.open(path) as store:
        pins = store.pins(event.server).values()
    waiting = [HeldDefinition(event.server, pin) for pin in pins if pin.name in names]
    held = [each for each in waiting if each.pin.held_at <= event.time]
    newer = [f"{x.target} since {x.pin.held_at}" for x in waiting if x.pin.waits and x not in held]
    changes = [(each.target, change) for each in held for change in each.changes]
    is_one = len({target for target, _ in changes}) == 1
    lines = (change if is_one else f"{target}: {change}" for target, change in changes)
    return DriftChanges(tuple(lines), tuple(newer))


def merge_passages(
    findings: Iterable[dict[str, str]], rule: str, *, with_places: bool
) -> list[dict[str, str]]:
    """The findings of a rule, without those that a person takes for another one."""
    passages: dict[tuple[str, ...], dict[str, str]] = {}
    for finding in findings:
        if finding["rule"] == rule:
            place = _read_place(finding) if with_places else ()
            passages.setdefault((*place, _read_words(finding)), finding)
    return list(passages.values())


def _read_place(finding: dict[str, str]) -> tuple[str, ...]:
    return finding.get("place", ""), finding.get("pointer", ""), finding.get("action", "")


def _read_words(finding: dict[str, str]) -> str:
    """The words of a passage: readings of it may begin at another blank."""
    text = finding.get("excerpt", "") or finding.get("note", "")
    return text.strip(" .,;:\n")


def list_decisions(
    event: AuditedEvent, take_back: str, refused: str, since: SinceThen
) -> list[tuple[str, str]]:
    """The commands with which a person can decide about an event; models never see them.

    Args:
        event: what happened.
        take_back: the command that takes back what the policy now grants, or empty.
        refused: why `pipeguard allow` would refuse it, or empty.
        since: what was decided already.
    """
    if event.is_of_demo:
        return [("There is nothing to decide: it was played by", "pipeguard demo")]
    if take_back:
        return [("Take it back:", take_back)]
    if since.exempting:
        return [("Take it back: remove the exception from", since.exempting)]
    if not any(enforced_action(each) in STOPPED or is_file(each) for each in event.findings):
        return []
    steps = []
    waiting = [f for f in event.findings if find_remedy(f["rule"]).way is Way.APPROVE]
    if waiting and not since.is_settled:
        tool = next((finding["tool"] for finding in waiting if finding.get("tool")), "")
        is_whole = 0 < len(tool) < MAX_NAME_CHARS  # the audit cuts longer ones
        target = quote(f"{event.server}/{tool}" if is_whole else event.server)
        steps = [
            ("Look at it:", f"pipeguard diff {target}"),
            ("Accept it: ", f"pipeguard approve {target}"),
            ("Reject it: ", f"pipeguard reject {target}"),
        ]
    way = find_remedy(decisive(stopping(event))).way
    if way is Way.EXCEPTION and not since.is_open:
        steps.append(("If you want it all the same:", f"pipeguard allow {event.name}"))
    elif way is Way.GRANT and not refused:
        steps.append((GIVE, f"pipeguard allow {event.name}"))
    return steps
