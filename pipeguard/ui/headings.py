"""Headings of what was stopped, for somebody who has never heard of the rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeguard.state.exceptions import stopping
from pipeguard.ui.text import foreign, sentence, show_own

if TYPE_CHECKING:
    from markupsafe import Markup

    from pipeguard.state.exceptions import AuditedEvent

# By rule or by its family, constants: what a call was about to do, and what an answer brought.
_TO_SERVER = {
    "flows.ordered": "A text that the model read tells it to call {tool}",
    "flows.private-out": "{tool} would send out private text",
    "flows.secret-out": "{tool} would send out a secret that another tool returned",
    "flows.untrusted-acts": "{tool} would act on a text that anybody may have written",
    "secrets": "A secret was on its way to {tool}",
    "personal": "Personal numbers were on their way to {tool}",
    "injection": "A call of {tool} carries orders to a model",
    "commands": "{tool} would run a dangerous command",
    "sql": "{tool} would run SQL that destroys data or breaks out of its query",
    "paths": "{tool} would reach a file outside its folder, or one that holds keys",
    "ssrf": "{tool} would connect to an address inside your network",
    "egress": "{server} wants to reach {subject}",
    "isolation.read": "{server} wants to read {subject}",
    "isolation.write": "{server} wants to change {subject}",
    "isolation.port": "{server} wants to connect to port {subject} of this machine",
    "isolation": "{server} wants {subject}",
    "egress.dns-labels": "{tool} would hide data in the name of a host",
    "protocol": "A message of {tool} costs more to read than your policy allows",
    "search": "{tool} describes itself for the search, not for its user",
}
_TO_CLIENT = {
    "secrets": "A secret in a result of {tool} was kept from the model",
    "personal": "Personal numbers in a result of {tool} were kept from the model",
    "injection": "A result of {tool} contains instructions to the model",
    "poisoning": "A definition of {server} contains instructions to the model",
    "commands": "A result of {tool} tells the model to run a dangerous command",
}
# Where there are more of them.
_SEVERAL = {
    "A secret was on its way to {tool}": "Secrets were on their way to {tool}",
    "A secret in a result of {tool} was kept from the model": "Secrets in a result of {tool} were"
    " kept from the model",
}


def make_heading(event: AuditedEvent, rule: str) -> Markup:
    """Say in a sentence what an event means.

    Args:
        event: that was stopped.
        rule: that decides about it.
    """
    is_answer = event.kind in {"result", "error"}
    tables = (_TO_CLIENT, _TO_SERVER) if is_answer else (_TO_SERVER, _TO_CLIENT)
    keys = [key for key in (rule, rule.partition(".")[0]) for table in tables if key in table]
    template = "A result of {tool} was stopped" if is_answer else "{tool} was stopped"
    if keys:
        template = next(table[keys[0]] for table in tables if keys[0] in table)
    stopped = stopping(event)
    finding = stopped[0] if stopped else {}
    if (
        len({each.get("content", "") for each in stopped if each["rule"].startswith("secrets.")})
        > 1
    ):
        template = _SEVERAL.get(template, template)
    tool = event.tool or finding.get("tool", "") or event.method or "a message"
    subject = foreign(find_subject(finding))
    return sentence(template, tool=foreign(tool), server=show_own(event.server), subject=subject)


# Why a definition is held (firewall.finding.PinChange), as far as its difference does not say it.
_REASONS = {
    "review": "your policy holds new definitions (trust: review)",
    "instruction-added": "it now tells the model to do something",
    "required-parameter-added": "a parameter was added that each call must fill",
    "annotation-flipped": "the server now claims something else about what it does",
    "schema-widened": "a parameter takes more than before",
    "parameter-added": "a parameter was added",
    "parameter-changed": "a parameter changed",
    "parameter-removed": "a parameter was removed",
    "output-schema": "the form of its results changed",
    "wording": "its wording changed",
    "name-only": "only its title changed",
    "other": "something else changed",
}
POISONED = "poisoned: "


def describe_reason(reason: str) -> str:
    """Say in words why a definition is held."""
    if reason.startswith(POISONED):
        return f"the rule {reason.removeprefix(POISONED)} found something in its words"
    return "; ".join(
        _REASONS.get(each, each) for each in reason.removeprefix("drift: ").split(", ")
    )


def find_subject(finding: dict[str, str]) -> str:
    """The host with its port, the path, or the port that a server wanted."""
    return finding.get("excerpt", "") or finding.get("host") or finding.get("path", "")
