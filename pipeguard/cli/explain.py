"""`pipeguard explain`: what a rule is for, or what happened at an event. Reads only."""

from __future__ import annotations

import json
import re
import textwrap
import unicodedata
from typing import TYPE_CHECKING, Any

import click

from pipeguard.assess.isolated_servers import stored_targets
from pipeguard.cli import _completions as completions
from pipeguard.detect.rules.rule import Leaving
from pipeguard.errors import PipeGuardError
from pipeguard.firewall.finding import Action
from pipeguard.firewall.protocol.methods import METHODS
from pipeguard.firewall.protocol.places import Surface, known_places
from pipeguard.firewall.session.remedies import LOST, Way, find_remedy
from pipeguard.rulebook.packs import load_rules, sources
from pipeguard.rulebook.proof import sample_place
from pipeguard.rulebook.reference import find_sure_action, list_raises, usual_action
from pipeguard.rulebook.rule_texts import CODE_RULES, FAMILIES
from pipeguard.rulebook.samples import texts
from pipeguard.state.decisions import SinceThen
from pipeguard.state.exceptions import (
    complete_advice,
    differences,
    enforced_action,
    find_event,
    is_wall,
    stopping,
)
from pipeguard.state.explanation import (
    GIVEN_BY_NOW,
    describe_outcome,
    describe_request,
    describe_rule,
    describe_wall_outcome,
    describe_way,
    find_changes,
    find_example,
    list_decisions,
    merge_passages,
    rule_fields,
)
from pipeguard.state.paths import existing_store, store_path
from pipeguard.state.review import find_offered
from pipeguard.state.row_filter import spell_event
from pipeguard.state.store import Store
from pipeguard.unicode.display import cut, pluralize, quote, suggestion, visible, visible_lines
from pipeguard.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pipeguard.detect.rules.rule import Rule
    from pipeguard.isolation import GivenNow
    from pipeguard.state.exceptions import AuditedEvent


WIDTH = 88  # characters of a line
SAMPLE_CHARS = 160  # shown of an example: two lines
SHOWN_PASSAGES = 3  # of the rule that decided, without --full
_REPORT = "To report a false alarm, without private text:"
_MESSAGES = {"result": "the result of ", "error": "the error of ", "notification": "notification "}

_CHECKED = {
    Surface.DEFINITIONS: "the definitions of tools, prompts and resources",
    Surface.TO_CLIENT: "what servers send to the client",
    Surface.TO_SERVER: "what the client sends to servers",
}
_USUAL = {Action.BLOCK: "blocked", Action.CUT: "cut out of a result"}


@click.command("explain", short_help="Explain a rule or an event.")
@click.argument("what", metavar="RULE|EVENT", shell_complete=completions.rules_and_events)
@click.option("--full", is_flag=True, help="All rules that an event matched, and where.")
@click.option("--redacted", is_flag=True, help="What can be published of an event.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def command(what: str, *, full: bool, redacted: bool, as_json: bool) -> None:
    """Say what a RULE finds, why that matters and what to do; or what happened at an EVENT.

    A block names both. A rule's example is made from the rule's own samples. --redacted has neither
    text nor names, for a public report of a false alarm.

    \b
    Examples:
      pipeguard explain secrets.github-token
      pipeguard explain K7Q2M9D4.c12
      pipeguard explain K7Q2M9D4.c12 --redacted
    """  # noqa: D301  click reads the mark
    rules = {rule.id: rule for rule in load_rules()}
    family = what.partition(".")[0]
    if what in rules:
        fields = rule_fields(rules[what])
        click.echo(json.dumps(fields, indent=2) if as_json else _rule_page(rules[what]))
    elif what in CODE_RULES:
        words = describe_rule(what, rules)
        fields = {"rule": what, **words, **describe_way(what)}
        click.echo(json.dumps(fields, indent=2) if as_json else _family_page(what, words))
    elif family.islower() and not spell_event(what):
        raise PipeGuardError(_explain_unknown(what, rules))
    else:
        event = find_event(store_path(), what, with_demo=True)
        fields = _redacted_fields(event) if redacted else _event_fields(event, rules)
        if as_json:
            click.echo(json.dumps(fields, indent=2))
        else:
            page = _redacted_page(fields) if redacted else _event_page(event, rules, is_full=full)
            click.echo(page)


def _explain_unknown(what: str, rules: dict[str, Rule]) -> str:
    """Say where to look for what is no rule: at a server, if it is one's name."""
    path = existing_store()
    if path is not None:
        with Store.open(path) as store:
            known = store.named_servers()
            servers = [name for name in store.servers_called(what) if name in known]
            servers = servers or [name for name in stored_targets(store, what) if name in known]
        if servers:
            names = " and ".join(map(visible, servers))
            called = "" if servers == [what] else f", called {names} in the audit"
            return (
                f"{what!r} is a server{called}. What was stopped or noted there:"
                f"\n  pipeguard audit list --server {quote(servers[0])}"
            )
        with Store.open(path) as store:
            tools = find_offered(store, what)
        if tools:
            names = " and ".join(each.target for each in tools)
            return (
                f"{what!r} is no rule, but {names}. What was stopped or noted of its server:"
                f"\n  pipeguard audit list --server {quote(tools[0].server)}"
            )
    near = suggestion(what, [*rules, *CODE_RULES])
    return f"no rule is called {what!r}.{near}\n  List them:  pipeguard rules list"


def _rule_page(rule: Rule) -> str:
    surface = min(rule.surfaces, key=lambda surface: surface.value)
    outcome = _USUAL.get(usual_action(rule), "noted as a warning")
    outcome += ", unless your policy says otherwise." + "".join(_describe_exceptions(rule))
    level = f"severity {rule.severity.name.lower()}, confidence {rule.confidence.name.lower()}"
    surfaces = ", and ".join(words for each, words in _CHECKED.items() if each in rule.surfaces)
    places = f" ({', '.join(rule.places)})" if rule.places else ""
    return "\n".join(
        [
            f"{click.style(rule.id, bold=True)}: {rule.title}",
            _wrap(f"{level}: what it finds is {outcome}"),
            _wrap(f"Checks {surfaces}{places}."),
            "",
            _label("Why", rule.why),
            _label("Do", rule.fix),
            _label("Allow", find_remedy(rule.id).advice),
            "",
            _label("Finds", cut(visible(find_example(rule)), SAMPLE_CHARS)),
            _label("Passes", cut(visible(texts(rule.passes[0])[0]), SAMPLE_CHARS)),
            _label("Place", f"as in {sample_place(rule, surface)}; the text is made up"),
            *([_label("OWASP", rule.owasp)] if rule.owasp else []),
        ]
    )


def _describe_exceptions(rule: Rule) -> Iterator[str]:
    """Say where something else than usual is done about a match."""
    sure = find_sure_action(rule)
    if sure is not usual_action(rule):
        yield f" It is {_USUAL[sure]} if {' or '.join(list_raises(rule))}."
    if rule.leaving is Leaving.LOWER and sure is Action.BLOCK:
        yield " In what a call keeps on this machine, it is a warning."


def _family_page(name: str, words: dict[str, str]) -> str:
    head = f"{click.style(name, bold=True)}: {words['title']}"
    return "\n".join([head, "", _label("What", words["why"]), _label("Do", words["fix"])])


def _event_fields(event: AuditedEvent, rules: dict[str, Rule]) -> dict[str, Any]:
    now, since = _now(event), SinceThen.find(event)
    findings = [finding | describe_rule(finding["rule"], rules) for finding in event.findings]
    for each in findings:
        each["fix"] = complete_advice(each["fix"], event, each["rule"])
    return {
        "event": event.name,
        "time": event.time,
        "server": event.server,
        "tool": event.tool,
        "method": event.method,
        "action": event.action,
        "findings": findings,
        "changes": list(find_changes(event, since).lines),
        "given_now": now is not None,
        "decisions": since.fields(),
        "allowed_by": since.exempting or None,
        "commands": [command for _, command in _decisions(event, now, since)],
    }


def _head(event: AuditedEvent, now: GivenNow | None) -> list[str]:
    """Say what happened, to what, of which server, and when."""
    what = " ".join(filter(None, (event.method, event.tool)))
    unnamed = "an HTTP request" if event.kind == "refusal" else "a message"
    what = what or ("what it said" if describe_wall_outcome(event) else unnamed)
    server = f"server {event.server}" if event.server else "the gateway itself"
    about = f"{_MESSAGES.get(event.kind, '')}{what}; {server}; {event.time}"
    return [
        f"{click.style(event.name, bold=True)}: {describe_outcome(event)}",
        *([] if now is None else [_wrap(now.holds)]),
        _label("What", visible(about)),
    ]


def _tell_missing_answer(event: AuditedEvent) -> Iterator[str]:
    """Say why a request that passed may have no answer, for which a client names its event."""
    from pipeguard.gateway.server_output import servers_with_output

    if event.kind == "request" and not event.findings:
        acted = "; the call may have taken effect before that" * (event.method == "tools/call")
        yield _label("Answer", f"If none came, the server ended before it answered{acted}.")
        if event.server in servers_with_output():
            yield _label("", "`pipeguard serve` starts it again.")
            yield _label("", f"What it wrote:  pipeguard logs {quote(event.server)}")


def _event_page(event: AuditedEvent, rules: dict[str, Rule], *, is_full: bool) -> str:
    """Say what happened, on which words, and what to do next: of one rule, or of all."""
    now, refused = _now(event), _why_not_given(event)
    since, lines = SinceThen.find(event), _head(event, now)
    lines[1:1] = [_label("Since", visible(line)) for line in since.lines()]
    lines += [_label("Differs", visible(line)) for line in differences(event)]
    lines += list(_tell_missing_answer(event))
    leading = stopping(event) or list(event.findings)
    all_rules = list(dict.fromkeys(each["rule"] for each in event.findings))
    for rule in all_rules if is_full else [each["rule"] for each in leading[:1]]:
        words = describe_rule(rule, rules)
        lines += ["", visible(": ".join(filter(None, (rule, words["title"]))))]
        passages = merge_passages(event.findings if is_full else leading, rule, with_places=is_full)
        for finding in passages if is_full else passages[:SHOWN_PASSAGES]:
            lines += _passage_lines(finding, event, is_past=now is not None, is_full=is_full)
        if not is_full and len(passages) > SHOWN_PASSAGES:
            lines.append(_label("", f"and {len(passages) - SHOWN_PASSAGES} more"))
        if rule == "trust.drifted" and not since.is_settled:
            lines += _describe_drift(event, since)
        fix = (refused if is_wall(rule) else "") or complete_advice(words["fix"], event, rule)
        has_commands = find_remedy(rule).way is Way.APPROVE  # which are below
        what_to_do = GIVEN_BY_NOW if now else "" if has_commands or since.is_open else fix
        about = (("Why", complete_advice(words["why"], event, rule)), ("Do", what_to_do))
        lines += [_label(label, visible_lines(text)) for label, text in about if text]
    lines += ["", *(f"{label}  {command}" for label, command in _decisions(event, now, since))]
    if event.findings and not is_full:
        others = len(all_rules) - 1
        more = f"All of it, with {pluralize(others, 'more rule')}:" if others else "All of it:"
        lines.append(f"{more}  pipeguard explain {event.name} --full")
    if leading and not event.is_of_demo and _may_be_false_alarm(leading[0]["rule"]):
        lines.append(f"{_REPORT}  pipeguard explain {event.name} --redacted")
    return "\n".join(lines).rstrip()


def _describe_drift(event: AuditedEvent, since: SinceThen) -> Iterator[str]:
    """Show in short how a definition changed, and which clients' entries share it."""
    from pipeguard.cli.diff import sharing_notes

    changes, newer = find_changes(event, since)
    for change in changes[:SHOWN_PASSAGES]:
        yield _label("Change", change)
    if len(changes) > SHOWN_PASSAGES:
        yield _label("", f"and {len(changes) - SHOWN_PASSAGES} more")
    for each in newer:
        yield _label("Change", f"no longer kept: another version waits, of {each}")
    yield from (f"Shared   {visible(why)}" for why in sharing_notes([event.server]))


def _may_be_false_alarm(rule: str) -> bool:
    is_decided = find_remedy(rule).way in {Way.APPROVE, Way.POLICY}  # by the user, not by a rule
    return not is_wall(rule) and rule != LOST and not is_decided


def _redacted_fields(event: AuditedEvent) -> dict[str, Any]:
    """Describe an event for the public: no text of it, and no name that somebody chose.

    A rule of the user's own packs, and a method that MCP does not know, are not named either.
    """
    shipped = {rule.id for rule in load_rules(pack for pack in sources() if pack.shipped)}
    places = {*known_places(), "connection", "audit"}
    return {
        "version": VERSION,
        "action": event.action,
        "message": event.kind,
        "method": event.method if event.method in METHODS else "",
        "bytes": event.length_bytes,
        "findings": [
            {
                "rule": finding["rule"] if _is_ours(finding["rule"], shipped) else "of your own",
                "action": enforced_action(finding),
                "confidence": finding.get("confidence", ""),
                "place": finding["place"] if finding.get("place") in places else "other",
                "view": finding.get("view", "text"),
                "characters": int(finding.get("length", 0)),
                "letters": _scripts(finding.get("excerpt", "")),
            }
            for finding in event.findings
        ],
    }


def _is_ours(rule: str, shipped: Collection[str]) -> bool:
    return rule in shipped or rule in FAMILIES or rule.partition(".")[0] in FAMILIES


def _scripts(text: str) -> list[str]:
    """The scripts of a text's letters, as Latin or Cyrillic."""
    letters = {
        unicodedata.name(letter, "").partition(" ")[0] for letter in text if letter.isalpha()
    }
    return sorted(name.capitalize() for name in letters if name)


def _redacted_page(fields: dict[str, Any]) -> str:
    about = ", ".join(filter(None, (fields["message"], fields["method"])))
    lines = [f"pipeguard {fields['version']}: {fields['action']}, {about}, {fields['bytes']} bytes"]
    for finding in fields["findings"]:
        texts = (
            f"confidence {finding['confidence']}" if finding["confidence"] else "",
            f"in {finding['place']}, read as {finding['view']}",
            pluralize(finding["characters"], "character") if finding["characters"] else "",
            f"{' and '.join(finding['letters'])} letters" if finding["letters"] else "",
        )
        lines.append(f"- {finding['rule']}: {finding['action']}, {', '.join(filter(None, texts))}")
    return "\n".join(lines)


def _passage_lines(
    finding: dict[str, str], event: AuditedEvent, *, is_past: bool, is_full: bool
) -> list[str]:
    """Describe a finding by its words, and in full also by its place."""
    if is_wall(finding["rule"]):
        note = "" if is_past else finding.get("note", "")
        about = (("Wanted", describe_request(finding)), ("Note", note))
        return [_label(label, visible(text)) for label, text in about if text]
    where = f"in {finding.get('place', '')} {finding.get('pointer', '')}".rstrip()
    level = f"severity {finding.get('severity')}, confidence {finding.get('confidence')}"
    view = finding.get("view", "text")
    as_view = "" if view == "text" else f", read as {view}"
    action = finding.get("action")
    would = f" (would: {finding['would']})" if finding.get("would") else ""
    is_command = find_remedy(finding["rule"]).way is Way.APPROVE  # `_decisions` has it
    excerpt = "" if is_command else finding.get("excerpt", "")
    texts = (
        ("Seen", f"{where}{as_view}; {level}; {action}{would}" if is_full else ""),
        ("Cut" if event.action == action == "cut" else "Text", excerpt),
        ("Note", finding.get("note", "")),
        ("Passed", "" if is_full or finding["rule"] == LOST else _why_passed(finding)),
    )
    return [
        _label(label, visible_lines(text) if label == "Note" else visible(text))
        for label, text in texts
        if text
    ]


def _why_passed(finding: dict[str, str]) -> str:
    """Say why a finding stopped nothing, where that is for its severity or confidence."""
    level = finding.get("severity", ""), finding.get("confidence", "")
    is_severe_and_sure = level[0] in {"high", "critical"} and level[1] == "high"
    if finding.get("action") != "warn" or finding.get("would") or is_severe_and_sure:
        return ""
    return (
        f"severity {level[0]}, confidence {level[1]}: unless your policy says otherwise, only what"
        " is both severe and sure is stopped"
    )


def _now(event: AuditedEvent) -> GivenNow | None:
    """The grant of what an isolated server was refused, if the policy holds it now."""
    if not describe_wall_outcome(event):
        return None
    from pipeguard.isolation import GivenNow

    return GivenNow.find(event)


def _why_not_given(event: AuditedEvent) -> str:
    if not any(is_wall(each["rule"]) for each in event.findings):
        return ""
    from pipeguard.isolation import why_not_given

    return why_not_given(event)


def _decisions(
    event: AuditedEvent, now: GivenNow | None, since: SinceThen
) -> list[tuple[str, str]]:
    take_back = "" if now is None else now.command
    return list_decisions(event, take_back, _why_not_given(event), since)


def _wrap(text: str, label: str = "") -> str:
    """Break a text into lines, but neither a command nor a path in it."""
    whole = re.sub("`[^`]+`", lambda code: code[0].replace(" ", "\0"), text)
    indent = " " * len(label)
    wrapped = textwrap.wrap(
        whole,
        WIDTH,
        initial_indent=label,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return "\n".join(wrapped).replace("\0", " ")


def _label(label: str, text: str) -> str:
    text, newline, lines = text.partition("\n")  # the lines are to be copied
    return f"{_wrap(text, f'{label:<8} ')}{newline}{textwrap.indent(lines, ' ' * 9)}"
