"""Remedies: the one table, for messages, log, commands and pages.

No other module says how to let something pass. The policy decides on rules of packs, so an
exception helps; rules that it does not decide on are listed here. Others get an exception.
"""

from collections.abc import Iterable
from enum import Enum
from functools import cache
from typing import Any, cast

from pipeguard.firewall.finding import Action, Verdict
from pipeguard.firewall.policy import OWN_GUARD
from pipeguard.records import NamedTuple

# The beginning of the note of a granted call; the name of the event that stopped it follows.
GRANTED_AS = "a person allowed this call once, as event "
LOST = "protocol.peer-gone"  # no answer came, and nothing was stopped


class Way(Enum):
    """The way to let something pass; the later, the less one command can do."""

    EXCEPTION = "exception"  # `pipeguard allow EVENT`
    GRANT = "grant"  # the same command grants an isolated server the access
    APPROVE = "approve"  # `pipeguard diff`, then `pipeguard approve`
    POLICY = "policy"  # a key of a file that the user writes
    OPTION = "option"  # of the command that listens
    NOTHING = "nothing"  # only the author of the client or the server can

    __hash__ = object.__hash__


class Remedy(NamedTuple):
    """The remedy for messages that one rule stops.

    Attributes:
        way: the kind of remedy.
        advice: for the user, in one or two sentences.
        key: of the policy, as `limits.pending`; or empty.
    """

    way: Way
    advice: str
    key: str = ""


# The rules that the policy's actions and exceptions do not decide; `remedies.yaml` has the advice.
_RULES = {
    Way.NOTHING: (
        "protocol.",
        "protocol.forged-mark",
        "protocol.internal",
        LOST,
        "trust.not-offered",
        "trust.full",
        "trust.wrong-digest",
        "egress.",
        "egress.failed",
        "audit.",
        "audit.outage",
        "secrets.foreign-placeholder",
        "secrets.put-back",
        "secrets.known",
        OWN_GUARD,
        "commands.cut-line",
    ),
    Way.EXCEPTION: (
        "protocol.view-limit",
        "protocol.read-limit",
        "protocol.scan-limit",
        "protocol.not-redacted",
        "policy.ask",
        "flows.",
    ),
    Way.POLICY: (
        "protocol.frame-too-large",
        "protocol.too-many-pending",
        "protocol.flood",
        "policy.",
        "search.",
    ),
    Way.APPROVE: ("trust.",),
    Way.OPTION: ("entrance.",),
    Way.GRANT: (
        "egress.host",
        "egress.port",
        "egress.address",
        "isolation.read",
        "isolation.write",
        "isolation.port",
    ),
}
# By rule or family, which ends with a dot; all others get an exception.
BY_RULE = {rule: way for way, rules in _RULES.items() for rule in rules}
_WAYS = tuple(Way)
# These stop one definition, not the list that it is left out of.
_LEFT_OUT = ("trust.", "protocol.duplicate-name", "protocol.nameless")


def find_way(rule: str) -> Way:
    """Find the way to let a message pass that a rule stops."""
    family = rule.partition(".")[0]
    return BY_RULE.get(rule) or BY_RULE.get(f"{family}.", Way.EXCEPTION)


def find_remedy(rule: str) -> Remedy:
    """Find the remedy for messages that a rule stops."""
    rows = _read_rows()
    family = rule.partition(".")[0]
    row = rows.get(rule) or rows.get(f"{family}.") or rows["others"]
    return Remedy(find_way(rule), row["advice"], row.get("key", ""))


@cache
def _read_rows() -> dict[str, dict[str, str]]:
    from yaml import safe_load  # no session needs it

    loader = cast("Any", __spec__).loader
    rows: dict[str, dict[str, str]] = safe_load(loader.get_data(f"{__file__[:-2]}yaml"))
    return rows


def is_held_verdict(verdict: Verdict) -> bool:
    """True if all that blocks a judged message are definitions that wait for a decision."""
    return is_held(each.rule for each in verdict.findings if each.action is Action.BLOCK)


def is_held(rules: Iterable[str]) -> bool:
    """True if all that blocks a message are definitions that wait for a decision.

    Args:
        rules: of the findings that block it.
    """
    return {find_way(rule) for rule in rules} == {Way.APPROVE}


def decisive_rule(rule: str, tool: str, stopped: Iterable[tuple[str, str]]) -> str:
    """The rule whose remedy applies to a finding, given all that stopped its message.

    If no exception helps with one finding, allowing the others would be in vain. A waiting
    definition is only left out of its list.

    Args:
        rule: of the finding.
        tool: that it concerns, or empty.
        stopped: the rule and the tool of each finding that stopped the message.
    """
    rules = [rule]
    for other, stopped_tool in stopped:
        if stopped_tool == tool or not other.startswith(_LEFT_OUT):
            rules.append(other)
    return max(rules, key=lambda each: _WAYS.index(find_way(each)))
