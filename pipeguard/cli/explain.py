"""`pipeguard explain`: what a rule is for, or what happened at an event. Reads only."""

from __future__ import annotations

import json
import textwrap
import unicodedata
from typing import TYPE_CHECKING, Any

import click

from pipeguard.cli import _completions as completions
from pipeguard.cli._isolated_servers import stored_targets
from pipeguard.errors import PipeGuardError
from pipeguard.firewall.finding import Action
from pipeguard.firewall.protocol.methods import METHODS
from pipeguard.firewall.protocol.places import known_places
from pipeguard.firewall.session.remedies import Way, find_remedy
from pipeguard.rulebook.packs import load_rules, sources
from pipeguard.rulebook.proof import sample_place, texts
from pipeguard.rulebook.reference import usual_action
from pipeguard.rulebook.rule_texts import FAMILIES
from pipeguard.state.decisions import SinceThen
from pipeguard.state.exceptions import (
    STOPPED,
    decisive,
    differences,
    enforced_action,
    find_event,
    is_wall,
    stopping,
)
from pipeguard.state.paths import existing_store, store_path
from pipeguard.state.schema import MAX_NAME_CHARS
from pipeguard.state.store import Store
from pipeguard.unicode.display import cut, pluralize, quote, suggestion, visible
from pipeguard.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pipeguard.detect.rules.rule import Rule
    from pipeguard.isolation import GivenNow
    from pipeguard.state.exceptions import AuditedEvent


# ---  walls -----------------------------------------------------------------------------
# What `pipeguard explain` says of what an isolated server did not get, in words for each kind.

GIVE = "Give the server exactly that:"
GIVEN_BY_NOW = "Nothing: your policy now grants what the server wanted."
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


# --- explain ----------------------------------------------------------------------------

WIDTH = 88  # characters of a line
SAMPLE_CHARS = 160  # shown of an example: two lines
SHOWN_PASSAGES = 3  # of the rule that decided, without --full
_REPORT = "A false alarm? What you can publish of it:"
_MESSAGES = {"result": "the result of ", "error": "the error of ", "notification": "notification "}

_USUAL = {Action.BLOCK: "blocked", Action.CUT: "cut out of a result"}
_OUTCOMES = {
    "allow": "PipeGuard let it pass.",
    "warn": "PipeGuard let it pass, with a warning.",
    "redact": "PipeGuard let it pass, with placeholders in place of what it found.",
    "cut": "PipeGuard let it pass without the passages below; a line is in place of each.",
    "ask": "PipeGuard had it wait for your decision.",
    "block": "PipeGuard blocked it.",
}


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
    family, dot, name = what.partition(".")
    if what in rules:
        fields = rule_fields(rules[what])
        click.echo(json.dumps(fields, indent=2) if as_json else _rule_page(rules[what]))
    elif dot and name and (about := FAMILIES.get(what) or FAMILIES.get(family)):
        fields = {"rule": what, "why": about, "fix": find_remedy(what).advice, **_way(what)}
        click.echo(json.dumps(fields, indent=2) if as_json else _family_page(what, about))
    elif family.islower():
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
                f"{what!r} is a server{called}. What was stopped or noted of it:"
                f"\n  pipeguard audit list --server {quote(servers[0])}"
            )
    near = suggestion(what, [*rules])
    return f"no rule is called {what!r}.{near}\n  List them:  pipeguard rules list"


def rule_fields(rule: Rule) -> dict[str, object]:
    """A rule for programs, with an example of what it finds."""
    return {
        "rule": rule.id,
        "title": rule.title,
        "severity": rule.severity.name.lower(),
        "confidence": rule.confidence.name.lower(),
        "default_action": usual_action(rule).name.lower(),
        "surfaces": sorted(surface.value for surface in rule.surfaces),
        "places": list(rule.places),
        "views": sorted(view.value for view in rule.views),
        "why": rule.why,
        "fix": rule.fix,
        **_way(rule.id),
        "owasp": rule.owasp,
        "example": example(rule),
        "near_miss": texts(rule.passes[0])[0],
    }


def _way(rule: str) -> dict[str, object]:
    """Describe the remedy for a rule, as JSON."""
    remedy = find_remedy(rule)
    return {"way": remedy.way.value, "policy_key": remedy.key}


def example(rule: Rule) -> str:
    """The rule's first sample, with its recipe filled in."""
    return texts(rule.matches[0])[0]


def _rule_page(rule: Rule) -> str:
    surface = min(rule.surfaces, key=lambda surface: surface.value)
    outcome = _USUAL.get(usual_action(rule), "noted as a warning")
    level = f"severity {rule.severity.name.lower()}, confidence {rule.confidence.name.lower()}"
    surfaces = ", ".join(sorted(surface.value for surface in rule.surfaces))
    places = f" ({', '.join(rule.places)})" if rule.places else ""
    return "\n".join(
        [
            f"{click.style(rule.id, bold=True)}: {rule.title}",
            _wrap(f"{level}: what it finds is {outcome}, unless your policy says otherwise."),
            _wrap(f"Looks at {surfaces}{places}."),
            "",
            _label("Why", rule.why),
            _label("Do", rule.fix),
            _label("Allow", find_remedy(rule.id).advice),
            "",
            _label("Finds", cut(visible(example(rule)), SAMPLE_CHARS)),
            _label("Passes", cut(visible(texts(rule.passes[0])[0]), SAMPLE_CHARS)),
            _label("Place", f"as in {sample_place(rule, surface)}; the text is made up"),
            *([_label("OWASP", rule.owasp)] if rule.owasp else []),
        ]
    )


def _family_page(name: str, about: str) -> str:
    head = click.style(name, bold=True)
    return "\n".join([head, "", _label("What", about), _label("Do", find_remedy(name).advice)])


def _event_fields(event: AuditedEvent, rules: dict[str, Rule]) -> dict[str, Any]:
    now, since = _now(event), SinceThen.find(event)
    findings = [finding | _words(finding["rule"], rules) for finding in event.findings]
    return {
        "event": event.name,
        "time": event.time,
        "server": event.server,
        "tool": event.tool,
        "method": event.method,
        "action": event.action,
        "findings": findings,
        "given_now": now is not None,
        "decisions": since.fields(),
        "allowed_by": since.exempting or None,
        "commands": [
            command for _, command in _decisions(event, now, _why_not_given(event), since)
        ],
    }


def _words(rule: str, rules: dict[str, Rule]) -> dict[str, str]:
    if rule in rules:
        return {"title": rules[rule].title, "why": rules[rule].why, "fix": rules[rule].fix}
    about = FAMILIES.get(rule) or FAMILIES.get(rule.partition(".")[0])
    if about is None:
        return {"title": "", "why": "This rule is no longer installed.", "fix": ""}
    return {"title": "", "why": about, "fix": find_remedy(rule).advice}


def _head(event: AuditedEvent, now: GivenNow | None) -> list[str]:
    """Say what happened, to what, of which server, and when."""
    what = " ".join(filter(None, (event.method, event.tool)))
    unnamed = "an HTTP request" if event.kind == "refusal" else "a message"
    what = what or ("what it said" if describe_outcome(event) else unnamed)
    usual = _OUTCOMES.get(event.action, f"PipeGuard's action was {event.action}.")
    server = f"server {event.server}" if event.server else "the gateway itself"
    about = f"{_MESSAGES.get(event.kind, '')}{what}; {server}; {event.time}"
    return [
        f"{click.style(event.name, bold=True)}: {describe_outcome(event) or usual}",
        *([] if now is None else [_wrap(now.holds)]),
        _label("What", visible(about)),
    ]


def _event_page(event: AuditedEvent, rules: dict[str, Rule], *, is_full: bool) -> str:
    """Say what happened, on which words, and what to do next: of one rule, or of all."""
    now, refused = _now(event), _why_not_given(event)
    since = SinceThen.find(event)
    lines = _head(event, now)
    lines[1:1] = [_label("Since", visible(line)) for line in since.lines()]
    lines += [_label("Differs", visible(line)) for line in differences(event)]
    leading = stopping(event) or list(event.findings)
    all_rules = list(dict.fromkeys(each["rule"] for each in event.findings))
    for rule in all_rules if is_full else [each["rule"] for each in leading[:1]]:
        words = _words(rule, rules)
        lines += ["", visible(": ".join(filter(None, (rule, words["title"]))))]
        passages = _passages(event.findings if is_full else leading, rule, is_full=is_full)
        for finding in passages if is_full else passages[:SHOWN_PASSAGES]:
            lines += _passage_lines(finding, event, is_past=now is not None, is_full=is_full)
        if not is_full and len(passages) > SHOWN_PASSAGES:
            lines.append(_label("", f"and {len(passages) - SHOWN_PASSAGES} more"))
        fix = (refused if is_wall(rule) else "") or words["fix"]
        what_to_do = fix if now is None else GIVEN_BY_NOW
        about = (("Why", words["why"]), ("Do", what_to_do))
        lines += [_label(label, visible(text)) for label, text in about if text]
    lines += [
        "",
        *(f"{label}  {command}" for label, command in _decisions(event, now, refused, since)),
    ]
    if event.findings and not is_full:
        others = len(all_rules) - 1
        more = f"All of it, with {pluralize(others, 'more rule')}:" if others else "All of it:"
        lines.append(f"{more}  pipeguard explain {event.name} --full")
    if leading and not is_wall(leading[0]["rule"]) and not event.is_of_demo:
        lines.append(f"{_REPORT}  pipeguard explain {event.name} --redacted")
    return "\n".join(lines).rstrip()


def _passages(
    findings: Iterable[dict[str, str]], rule: str, *, is_full: bool
) -> list[dict[str, str]]:
    """The findings of a rule, without those that a person takes for another one."""
    passages: dict[tuple[str, ...], dict[str, str]] = {}
    for finding in findings:
        if finding["rule"] == rule:
            place = _read_place(finding) if is_full else ()
            passages.setdefault((*place, _read_words(finding)), finding)
    return list(passages.values())


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


def _read_place(finding: dict[str, str]) -> tuple[str, ...]:
    return finding.get("place", ""), finding.get("pointer", ""), finding.get("action", "")


def _read_words(finding: dict[str, str]) -> str:
    """The words of a passage: readings of it may begin at another blank."""
    text = finding.get("excerpt", "") or finding.get("note", "")
    return text.strip(" .,;:\n")


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
    )
    return [_label(label, visible(text)) for label, text in texts if text]


def _now(event: AuditedEvent) -> GivenNow | None:
    """The grant of what an isolated server was refused, if the policy holds it now."""
    if not describe_outcome(event):
        return None
    from pipeguard.isolation import GivenNow

    return GivenNow.find(event)


def _why_not_given(event: AuditedEvent) -> str:
    if not any(is_wall(each["rule"]) for each in event.findings):
        return ""
    from pipeguard.cli._give import why_not_given

    return why_not_given(event)


def _decisions(
    event: AuditedEvent, now: GivenNow | None, refused: str, since: SinceThen
) -> list[tuple[str, str]]:
    """The commands with which a person can decide about an event; models never see them."""
    if event.is_of_demo:
        return [("There is nothing to decide: it was played by", "pipeguard demo")]
    if now is not None:
        return [("Take it back:", now.command)]
    if since.exempting:
        return [("Take it back: remove the exception from", since.exempting)]
    if not any(enforced_action(each) in STOPPED or is_file(each) for each in event.findings):
        return []
    steps = []
    waiting = [f for f in event.findings if find_remedy(f["rule"]).way is Way.APPROVE]
    if waiting and not since.is_approved:
        tool = next((finding["tool"] for finding in waiting if finding.get("tool")), "")
        is_whole = 0 < len(tool) < MAX_NAME_CHARS  # the audit cuts longer ones
        target = quote(f"{event.server}/{tool}" if is_whole else event.server)
        steps = [
            ("Look at it:", f"pipeguard diff {target}"),
            ("Accept it: ", f"pipeguard approve {target}"),
        ]
    way = find_remedy(decisive(stopping(event))).way
    if way is Way.EXCEPTION and not since.is_open:
        steps.append(("If you want it all the same:", f"pipeguard allow {event.name}"))
    elif way is Way.GRANT and not refused:
        steps.append((GIVE, f"pipeguard allow {event.name}"))
    elif way is Way.POLICY:
        steps.append(("Your policy is in the file that this names:", "pipeguard policy path"))
    return steps


def _wrap(text: str) -> str:
    return textwrap.fill(text, WIDTH)


def _label(label: str, text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=f"{label:<8} ", subsequent_indent=" " * 9)
