"""An event: its findings, the answer to the model, and later decisions.

The audit keeps no frames: an event shows only what its findings have of one, masked.
"""

from aiohttp import web
from markupsafe import Markup

from pipeguard.detect.rules.rule import Rule
from pipeguard.firewall.finding import Finding, method_is_secret
from pipeguard.firewall.session import replies
from pipeguard.rulebook import packs, samples
from pipeguard.state import exceptions, explanation
from pipeguard.state.audit import AuditEntry, AuditFilter, AuditRow, parse_findings, rows
from pipeguard.state.exceptions import AuditedEvent
from pipeguard.state.pins import Store
from pipeguard.ui import cards, evidence, headings
from pipeguard.ui.page import Request, Response, draw, with_store
from pipeguard.ui.text import foreign, sentence, show_own

MOST_RULES = 8  # of an event, that are explained; the rest is counted
MOST_PASSAGES = 5  # of one rule
MOST_DECISIONS = 20


async def _event(request: Request) -> Response:
    name = request.match_info["event"]
    event = await with_store(request, lambda store: explain_event(store, name))
    return await draw(request, "event.html", "Event", event=event)


def explain_event(store: Store, name: str) -> dict[str, object] | None:
    """Collect all facts about an event; None if the audit does not have it.

    Raises:
        StateError: the store cannot be read.
    """
    named = list(rows(store, AuditFilter(event=name))) if name else []
    row = next((each for each in named if each.entry.kind != exceptions.DECISION), None)
    if row is None:
        return None
    event = exceptions.to_event(row)
    rules = {rule.id: rule for rule in packs.load_rules()}
    leading = exceptions.stopping(event) or list(event.findings)
    in_order = list(dict.fromkeys(each["rule"] for each in (*leading, *event.findings)))
    decisions = [_describe(each.entry) for each in named if each.entry.kind == exceptions.DECISION]
    drawn = cards.find_waiting(store)[: cards.MOST_CARDS] if exceptions.stopping(event) else []
    card = next((card for card in drawn if card.id == name), None)
    return {
        "row": row,
        "heading": card.heading if card else _head(event),
        "outcome": explanation.describe_outcome(event),
        "blocks": [_explain_rule(event, rule, rules) for rule in in_order[:MOST_RULES]],
        "more_rules": max(0, len(in_order) - MOST_RULES),
        "proof": evidence.Evidence([*leading, *event.findings], is_whole=True),
        "reply": _read_reply(row, event),
        "audited": event,
        "commands": explanation.list_commands(event),
        "decisions": decisions[-MOST_DECISIONS:],
        "card": card.id if card else "",
    }


def _describe(decision: AuditEntry) -> str:
    notes = [each.get("note", "") for each in parse_findings(decision)]
    return f"{decision.time}, {decision.client or 'somebody'}: {'; '.join(notes)}"


def _head(event: AuditedEvent) -> Markup:
    if stopped := exceptions.stopping(event):
        return headings.make_heading(event, exceptions.decisive(stopped))
    named = event.tool or event.method
    what = foreign(named) if named else "A message"
    return sentence("{what} of {server}", what=what, server=show_own(event.server))


def _explain_rule(event: AuditedEvent, rule: str, rules: dict[str, Rule]) -> dict[str, object]:
    """Describe a rule's findings, with its texts, and samples that it finds and does not find."""
    words = explanation.describe_rule(rule, rules)
    fix = exceptions.complete_advice(words["fix"], event, rule)
    words["fix"] = "" if exceptions.is_only_noted(event, rule) else fix
    passages = explanation.merge_passages(event.findings, rule, with_places=True)
    known = rules.get(rule)
    return {
        "rule": rule,
        "words": words,
        "passages": passages[:MOST_PASSAGES],
        "wanted": explanation.describe_request(passages[0]) if exceptions.is_wall(rule) else "",
        "example": explanation.find_example(known) if known else "",
        "near_miss": samples.texts(known.passes[0])[0] if known else "",
    }


def _read_reply(row: AuditRow, event: AuditedEvent) -> str:
    """Return the reply to the model about a stopped call, in the session's words, if known.

    After a wait the reply also had its duration, which the audit does not store.
    """
    ends = {("request", "to-server"): False, ("result", "to-client"): True}
    executed = ends.get((row.entry.kind, row.entry.direction))
    if executed is None or row.entry.action != "block" or event.method != "tools/call":
        return ""
    if any(" as event " in each.get("note", "") for each in event.findings):
        return ""
    findings = [
        Finding(
            *(each["rule"], each.get("place", ""), each.get("pointer", "")),
            note=each.get("note", ""),
            tool=each.get("tool") or None,
        )
        for each in event.findings
        if each.get("action")
    ]
    if not findings or method_is_secret(findings) or findings[0].rule.startswith("protocol."):
        return ""
    return replies.words(findings[0], event.name, executed=executed)


ROUTES = (web.get("/event/{event}", _event),)
