"""Explanations of rules and events for people: the words that the commands and the page share."""

from collections.abc import Iterable

from pipeguard.detect.rules.rule import Rule
from pipeguard.firewall.session.remedies import LOST, Way, find_remedy, is_held
from pipeguard.rulebook.actions import find_sure_action, usual_action
from pipeguard.rulebook.rule_texts import find_text
from pipeguard.rulebook.samples import texts
from pipeguard.state.exceptions import (
    STOPPED,
    AuditedEvent,
    decisive,
    enforced_action,
    is_wall,
    stopping,
)
from pipeguard.state.schema import MAX_NAME_CHARS
from pipeguard.unicode.display import quote

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
    """Describe the outcome of a message, or of an isolated server's request."""
    usual = OUTCOMES.get(event.action, f"PipeGuard's action was {event.action}.")
    blocking = [each["rule"] for each in event.findings if each.get("action") == "block"]
    if is_held(blocking):
        usual = "PipeGuard held it for your approval."
    if any(each["rule"] == LOST for each in event.findings):
        usual = "No answer came. PipeGuard blocked nothing."
    return describe_wall_outcome(event) or usual


def describe_wall_outcome(event: AuditedEvent) -> str:
    """Describe the outcome of a server's request; empty for an event without a wall."""
    if not event.findings or not all(is_wall(each["rule"]) for each in event.findings):
        return ""
    if all(map(is_file, event.findings)):
        return _REFUSED
    if any(each["rule"] == "egress.failed" for each in event.findings):
        return _FAILED
    return _REFUSED if event.action == "block" else ""


def describe_request(finding: dict[str, str]) -> str:
    """Describe a server's request, as the end of a sentence."""
    subject = finding.get("path") or finding.get("excerpt", "")
    host = finding.get("host", "")
    text = _KINDS.get(finding["rule"], "{}").format(subject)
    leads = host and finding["rule"] == "egress.address" and not subject.startswith(host)
    return f"{host}, whose name leads to {text}" if leads else text


def rule_fields(rule: Rule) -> dict[str, object]:
    """A rule for programs, with an example of a match."""
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
    """The title of a rule, why it matters, and its fix."""
    if rule in rules:
        return {"title": rules[rule].title, "why": rules[rule].why, "fix": rules[rule].fix}
    text = find_text(rule)
    if text is None:
        return {"title": "", "why": "This rule is no longer installed.", "fix": ""}
    return {**text._asdict(), "fix": find_remedy(rule).advice}


def merge_passages(
    findings: Iterable[dict[str, str]], rule: str, *, with_places: bool
) -> list[dict[str, str]]:
    """The findings of a rule, merged if a person would take them for the same."""
    passages: dict[tuple[str, ...], dict[str, str]] = {}
    for finding in findings:
        if finding["rule"] == rule:
            keys = ("place", "pointer", "action") if with_places else ()
            words = finding.get("excerpt", "") or finding.get("note", "")
            words = words.strip(" .,;:\n")  # readings of it may begin at another blank
            passages.setdefault((*(finding.get(key, "") for key in keys), words), finding)
    return list(passages.values())


def list_commands(event: AuditedEvent) -> list[tuple[str, str]]:
    """The commands with which a person decides about an event, with labels; models see none."""
    actions = {enforced_action(each) for each in event.findings}
    if event.is_of_demo or not (actions & {*STOPPED} or any(map(is_file, event.findings))):
        return []
    commands = []
    waiting = [f for f in event.findings if find_remedy(f["rule"]).way is Way.APPROVE]
    if waiting:
        tool = next((finding["tool"] for finding in waiting if finding.get("tool")), "")
        is_whole = 0 < len(tool) < MAX_NAME_CHARS  # the audit cuts longer ones
        target = quote(f"{event.server}/{tool}" if is_whole else event.server)
        commands = [
            ("Look at it:", f"pipeguard diff {target}"),
            ("Accept it: ", f"pipeguard approve {target}"),
            ("Reject it: ", f"pipeguard reject {target}"),
        ]
    way = find_remedy(decisive(stopping(event))).way
    if way in (Way.EXCEPTION, Way.GRANT):
        commands.append((_ALLOW[way], f"pipeguard allow {event.name}"))
    return commands


_ALLOW = {Way.EXCEPTION: "If you want it all the same:", Way.GRANT: "Give the server exactly that:"}
