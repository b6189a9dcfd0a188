"""An event: its findings, the answer to the model, and later decisions.

The audit keeps no frames: an event shows only the excerpts in its findings. SVG text has no box
that clips, so a text from outside is made visible and cut before it is drawn.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from aiohttp import web
from markupsafe import Markup

from pipeguard.firewall.finding import (
    Action,
    Confidence,
    Finding,
    Severity,
    method_is_secret,
    worst,
)
from pipeguard.firewall.session import replies
from pipeguard.rulebook.packs import load_rules
from pipeguard.rulebook.samples import texts
from pipeguard.state.audit import AuditFilter, parse_findings, rows
from pipeguard.state.exceptions import (
    DECISION,
    complete_advice,
    decisive,
    is_only_noted,
    is_wall,
    stopping,
    to_event,
)
from pipeguard.state.explanation import (
    describe_outcome,
    describe_request,
    describe_rule,
    find_example,
    list_commands,
    merge_passages,
)
from pipeguard.ui.cards import MOST_CARDS, find_waiting
from pipeguard.ui.headings import make_heading
from pipeguard.ui.page import draw, with_store
from pipeguard.ui.text import foreign, render, sentence, show_own
from pipeguard.unicode.display import show

if TYPE_CHECKING:
    from pipeguard.detect.rules.rule import Rule
    from pipeguard.state.audit import AuditEntry, AuditRow
    from pipeguard.state.exceptions import AuditedEvent
    from pipeguard.state.store import Store

_Level = TypeVar("_Level", Action, Confidence, Severity)
MOST_RULES = 8  # of an event, that are explained; the rest is counted
MOST_PASSAGES = 5  # of one rule
MOST_DECISIONS = 20
FLOW_CHARS = 44  # of a text in a box of the drawing
STOPS = {"block": "stopped here", "ask": "waits here"}  # in the drawing


def add_routes(app: web.Application) -> None:
    """Add the address of this page."""
    app.router.add_get("/event/{event}", _event)


async def _event(request: web.Request) -> web.StreamResponse:
    name = request.match_info["event"]
    event = await with_store(request, lambda store: explain_event(store, name))
    return await draw(request, "event.html", "Event", event=event)


def explain_event(store: Store, name: str) -> dict[str, object] | None:
    """Collect all facts about an event; None if the audit does not have it.

    Raises:
        StateError: the store cannot be read.
    """
    named = list(rows(store, AuditFilter(event=name))) if name else []
    row = next((each for each in named if each.entry.kind != DECISION), None)
    if row is None:
        return None
    event = to_event(row)
    rules = {rule.id: rule for rule in load_rules()}
    leading = stopping(event) or list(event.findings)
    in_order = list(dict.fromkeys(each["rule"] for each in (*leading, *event.findings)))
    first = next((each for each in leading if each.get("arguments")), {})
    arguments = first.get("arguments", "")
    marks, numbers = _mark(event, arguments)
    blocks = [
        {**_explain_rule(event, rule, rules), "mark": numbers.get(rule, 0)}
        for rule in in_order[:MOST_RULES]
    ]
    decisions = [_describe(each.entry) for each in named if each.entry.kind == DECISION]
    drawn = find_waiting(store)[:MOST_CARDS] if stopping(event) else []
    return {
        "row": row,
        "heading": _head(event),
        "outcome": describe_outcome(event),
        "blocks": blocks,
        "more_rules": max(0, len(in_order) - MOST_RULES),
        "arguments": arguments,
        "marks": marks,
        "differs": first.get("differs", ""),
        "reply": _read_reply(row, event),
        "drawing": _draw_flow(row, leading),
        "commands": list_commands(event),
        "decisions": decisions[-MOST_DECISIONS:],
        "card": name if any(card.id == name for card in drawn) else "",
    }


def _describe(decision: AuditEntry) -> str:
    notes = [each.get("note", "") for each in parse_findings(decision)]
    return f"{decision.time}, {decision.client or 'somebody'}: {'; '.join(notes)}"


def _head(event: AuditedEvent) -> Markup:
    stopped = stopping(event)
    if stopped:
        return make_heading(event, decisive(stopped))
    what = event.tool or event.method
    if not what:
        return sentence("A message of {server}", server=show_own(event.server))
    return sentence("{what} of {server}", what=foreign(what), server=show_own(event.server))


def _mark(event: AuditedEvent, arguments: str) -> tuple[list[str], dict[str, int]]:
    """Return the passages of masked arguments to mark, and the number of each rule's."""
    marks: list[str] = []
    numbers: dict[str, int] = {}
    for finding in event.findings:
        if passage := _find_passage(finding, arguments):
            if passage not in marks:
                marks.append(passage)
            numbers.setdefault(finding["rule"], marks.index(passage) + 1)
    return marks, numbers


def _find_passage(finding: dict[str, str], arguments: str) -> str:
    """Find the passage of masked arguments that a finding is about; empty if unknown."""
    excerpt = finding.get("excerpt", "")
    if excerpt and excerpt in arguments:
        return excerpt
    with suppress(ValueError):  # they were cut
        value = json.loads(arguments)
        pointer = finding.get("pointer", "").removeprefix("/params/arguments/")
        for name in pointer.replace("~1", "\0").split("/"):
            key = name.replace("\0", "/").replace("~0", "~")
            # Lists are in another order.
            value = value.get(key) if isinstance(value, dict) else None
        text = json.dumps(value, ensure_ascii=False)[1:-1] if isinstance(value, str) else ""
        return text if text in arguments else ""
    return ""


def _explain_rule(event: AuditedEvent, rule: str, rules: dict[str, Rule]) -> dict[str, object]:
    """Describe a rule's findings, with its texts, and samples that it finds and does not find."""
    words = describe_rule(rule, rules)
    fix = complete_advice(words["fix"], event, rule)
    words["fix"] = "" if is_only_noted(event, rule) else fix
    passages = merge_passages(event.findings, rule, with_places=True)
    known = rules.get(rule)
    return {
        "rule": rule,
        "words": words,
        "passages": passages[:MOST_PASSAGES],
        "wanted": describe_request(passages[0]) if is_wall(rule) else "",
        "example": find_example(known) if known else "",
        "near_miss": texts(known.passes[0])[0] if known else "",
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
    findings = [_to_finding(each) for each in event.findings if each.get("action")]
    if not findings or method_is_secret(findings):
        return ""
    gravest = worst(findings)
    if gravest.rule.startswith("protocol."):
        return ""
    return replies.words(gravest, event.name, executed=executed)


def _to_finding(fields: dict[str, str]) -> Finding:
    return Finding(
        fields["rule"],
        fields.get("place", ""),
        fields.get("pointer", ""),
        severity=_find_member(Severity, fields, "severity", Severity.HIGH),
        confidence=_find_member(Confidence, fields, "confidence", Confidence.HIGH),
        action=_find_member(Action, fields, "action", Action.BLOCK),
        note=fields.get("note", ""),
        tool=fields.get("tool") or None,
    )


def _find_member(kind: type[_Level], fields: dict[str, str], name: str, usual: _Level) -> _Level:
    return kind.__members__.get(fields.get(name, "").upper(), usual)


def _draw_flow(row: AuditRow, leading: list[dict[str, str]]) -> Markup:
    """Draw the flow of a text: read here, kept by the model, and stopped or sent there."""
    finding = next((each for each in leading if each["rule"].startswith("flows.")), None)
    if finding is None:
        return Markup("")
    note = finding.get("note", "")
    source = re.search(r"(?:from|of) ['\"]?([^'\"\s]+)", note)
    boxes = {
        "source": source[1] if source else "a tool that the audit does not name",
        "text": finding.get("excerpt") or note,
        "client": row.entry.client or "a client that the audit does not name",
        "target": f"{row.server}  {finding.get('tool') or row.entry.tool}",
    }
    shown = {name: show(each, FLOW_CHARS) for name, each in boxes.items()}
    drawn = render("flow.html", **shown, stop=STOPS.get(row.entry.action, ""))
    return Markup(drawn)  # noqa: S704  the template escapes them
