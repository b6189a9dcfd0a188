"""`pipeguard explain`: explains a rule, or an event. Reads only."""

import re
import textwrap
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any

import click

from pipeguard.cli import _completions as completions
from pipeguard.cli._emit import Fields, emit, flag, json_option, render
from pipeguard.detect.rules.rule import Rule
from pipeguard.errors import PipeGuardError, Refusal
from pipeguard.firewall.protocol.json_values import JsonValue, as_object, serialise
from pipeguard.firewall.protocol.methods import METHODS
from pipeguard.firewall.protocol.places import known_places
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session.remedies import Way, find_remedy
from pipeguard.rulebook import actions, proof
from pipeguard.rulebook.packs import load_rules, sources
from pipeguard.rulebook.rule_texts import code_rules, find_text
from pipeguard.state import exceptions, explanation, paths, row_filter
from pipeguard.state.exceptions import AuditedEvent
from pipeguard.unicode.display import cut, pluralize, suggestion, visible, visible_lines
from pipeguard.version import VERSION

WIDTH = 88  # characters of a line
SHOWN_PASSAGES = 3  # of the rule that decided, without --full
_REPORT = "To report a false alarm, without private text:"
_MESSAGES = {"result": "the result of ", "error": "the error of ", "notification": "notification "}


@click.command("explain", short_help="Explain a rule or an event.")
@click.argument("what", metavar="RULE|EVENT", shell_complete=completions.rules)
@flag("--full", "All rules that an event matched, where, and why.")
@flag("--redacted", "What can be published of an event.")
@json_option
def command(what: str, *, full: bool, redacted: bool) -> None:
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
        emit(explanation.rule_fields(rules[what]), lambda _: _rule_page(rules[what]))
    elif what in code_rules():
        fields: Fields = {
            "rule": what,
            **explanation.describe_rule(what, rules),
            **explanation.describe_way(what),
        }
        head = f"{click.style(what, bold=True)}: {fields['title']}"
        lines = [head, "", _label("What", fields["why"]), _label("Do", fields["fix"])]
        emit(fields, lambda _: lines)
    elif family.islower() and not row_filter.spell_event(what):
        near = suggestion(what, [*rules, *code_rules()])
        why = f"no rule is called {what!r}.{near}\n  List them:  pipeguard rules list"
        raise PipeGuardError(why)
    else:
        event = exceptions.find_event(paths.store_path(), what, with_demo=True)
        page = partial(_event_page, event, is_full=full)
        if redacted:
            emit(_redacted_fields(event), partial(render, "redacted"))
        else:
            emit(_event_fields(event, rules), page)


def _rule_page(rule: Rule) -> str:
    surface = min(rule.surfaces, key=lambda surface: surface.value)
    fields: Fields = {
        **explanation.rule_fields(rule),
        "leaving": rule.leaving.value,
        "raises": actions.list_raises(rule),
        "advice": find_remedy(rule.id).advice,
        "place": proof.sample_place(rule, surface),
    }
    return render("rule", fields, wrap=_wrap, cut=cut, label=lambda text, name: _label(name, text))


def _event_fields(event: AuditedEvent, rules: dict[str, Rule]) -> Fields:
    """Describe an event, with the texts of each rule, and the commands that decide about it."""
    findings = [
        finding | explanation.describe_rule(finding["rule"], rules) for finding in event.findings
    ]
    for each in findings:
        each |= {
            key: exceptions.complete_advice(each[key], event, each["rule"])
            for key in ("why", "fix")
        }
    return {
        "event": event.name,
        "time": event.time,
        "server": event.server,
        "tool": event.tool,
        "method": event.method,
        "action": event.action,
        "outcome": explanation.describe_outcome(event),
        "findings": findings,
        "commands": [command for _, command in explanation.list_commands(event)],
    }


def _event_page(event: AuditedEvent, fields: Fields, *, is_full: bool) -> Iterator[str]:
    """Explain an event, its excerpts, and the next steps: for one rule, or for all."""
    yield f"{click.style(event.name, bold=True)}: {fields['outcome']}"
    what = " ".join(filter(None, (event.method, event.tool)))
    unnamed = "an HTTP request" if event.kind == "refusal" else "a message"
    what = what or ("what it said" if explanation.describe_wall_outcome(event) else unnamed)
    server = f"server {event.server}" if event.server else "the gateway itself"
    about = f"{_MESSAGES.get(event.kind, '')}{what}; {server}; {event.time}"
    yield _label("What", visible(about))
    yield from _call_lines(event)
    leading = exceptions.stopping(event) or list(event.findings)
    words = {each["rule"]: each for each in fields["findings"]}
    for rule in words if is_full else [each["rule"] for each in leading[:1]]:
        yield from ("", visible(": ".join(filter(None, (rule, words[rule]["title"])))))
        passages = explanation.merge_passages(
            event.findings if is_full else leading, rule, with_places=is_full
        )
        for finding in passages if is_full else passages[:SHOWN_PASSAGES]:
            yield from _passage_lines(finding, event, is_full=is_full)
        if not is_full and len(passages) > SHOWN_PASSAGES:
            yield _label("", f"and {len(passages) - SHOWN_PASSAGES} more")
        # A mere note needs no advice; a pending definition has its commands below.
        is_advised = (
            not exceptions.is_only_noted(event, rule) and find_remedy(rule).way is not Way.APPROVE
        )
        fix = words[rule]["fix"] if is_advised else ""
        texts = (("Why", words[rule]["why"]), ("Do", fix))
        yield from (_label(label, visible_lines(text)) for label, text in texts if text)
    if event.findings:
        yield ""
    yield from (f"{label}  {command}" for label, command in explanation.list_commands(event))
    if event.findings and not is_full:
        others = len(words) - 1
        more = f"All of it, with {pluralize(others, 'more rule')}:" if others else "All of it:"
        yield f"{more}  pipeguard explain {event.name} --full"
    if leading and find_remedy(leading[0]["rule"]).way is Way.EXCEPTION:
        yield f"{_REPORT}  pipeguard explain {event.name} --redacted"


def _redacted_fields(event: AuditedEvent) -> dict[str, Any]:
    """Describe an event for the public, without its texts, and without names that somebody chose.

    It also omits a rule of the user's own packs, and a method unknown to MCP.
    """
    shipped = {rule.id for rule in load_rules(pack for pack in sources() if pack.shipped)}
    shipped |= {each["rule"] for each in event.findings if find_text(each["rule"]) is not None}
    places = {*known_places(), "connection", "audit"}
    return {
        "version": VERSION,
        "action": event.action,
        "message": event.kind,
        "method": event.method if event.method in METHODS else "",
        "bytes": event.length_bytes,
        "findings": [
            {
                "rule": finding["rule"] if finding["rule"] in shipped else "of your own",
                "action": exceptions.enforced_action(finding),
                "confidence": finding.get("confidence", ""),
                "place": finding["place"] if finding.get("place") in places else "other",
                "view": finding.get("view", "text"),
                "characters": int(finding.get("length", 0)),
                "letters": _scripts(finding.get("excerpt", "")),
            }
            for finding in event.findings
        ],
    }


def _scripts(text: str) -> list[str]:
    """The scripts of a text's letters, as Latin or Cyrillic."""
    letters = {
        unicodedata.name(letter, "").partition(" ")[0] for letter in text if letter.isalpha()
    }
    return sorted(name.capitalize() for name in letters if name)


def _passage_lines(finding: dict[str, str], event: AuditedEvent, *, is_full: bool) -> Iterator[str]:
    """Describe a finding by its excerpt, and in full also by its place."""
    where = f"in {finding.get('place', '')} {finding.get('pointer', '')}".rstrip()
    level = f"severity {finding.get('severity')}, confidence {finding.get('confidence')}"
    view, action = finding.get("view", "text"), finding.get("action")
    as_view = "" if view == "text" else f", read as {view}"
    would = f" (would: {finding['would']})" if finding.get("would") else ""
    is_command = find_remedy(finding["rule"]).way is Way.APPROVE  # which is below
    is_walled = exceptions.is_wall(finding["rule"])
    texts = [("Wanted", explanation.describe_request(finding) if is_walled else "")]
    if is_full:
        texts.append(("Seen", f"{where}{as_view}; {level}; {action}{would}"))
        texts.append(("Rated", finding.get("steps", "")))
    elif "'s policy" in (decided := finding.get("steps", "").rpartition("; ")[2]):
        texts.append(("Policy", decided))  # not the user's own, in which they would look
    if not (is_command or is_walled):
        texts += _quote_passage(finding, event)
    yield from (_label(label, visible(text)) for label, text in texts if text)
    if note := finding.get("note", ""):
        yield _label("Note", visible_lines(note))


def list_evidence(event: AuditedEvent) -> Iterator[str]:
    """Show what was stopped: a call's arguments, and the rules, each with its passage."""
    yield from _call_lines(event)
    passages = [
        (_label("Stopped", each["rule"]), *_passage_lines(each, event, is_full=False))
        for each in exceptions.stopping(event)
    ]
    yield from chain.from_iterable(dict.fromkeys(passages))


def _quote_passage(finding: dict[str, str], event: AuditedEvent) -> Iterator[tuple[str, str]]:
    """Quote the passage of a finding: where it came from, its words, and the text around it."""
    source, mark = finding.get("source", ""), finding.get("marked", "")
    if age := finding.get("source_age", ""):
        now = datetime.fromisoformat(event.time).astimezone()
        then = now - timedelta(seconds=float(age))
        source += f", {then:{'%H:%M' if then.date() == now.date() else '%Y-%m-%d %H:%M'}}"
    yield "From", f"{source}, marked {mark}" if mark else source
    is_cut = event.action == finding.get("action") == "cut"
    yield "Cut" if is_cut else "Text", finding.get("excerpt", "")
    yield "Around", finding.get("frame", "")


def _call_lines(event: AuditedEvent) -> Iterator[str]:
    """Show a call's arguments, those first that say where it goes, and how they differ."""
    first, lines = exceptions.find_arguments(event.findings), list[str]()
    lengths = _read_object(first.get("lengths", ""))
    for name, value in _read_object(first.get("arguments", "")).items():
        text, whole = serialise(value).decode(), lengths.get(name)
        shown = f" ({whole} characters, {len(text) - 2 - text.count('…')} shown)" if whole else ""
        lines.append(f"{serialise(name).decode()}: {text}{shown}")
    lines = lines or [first.get("arguments", "")] * bool(first)
    if unseen := describe_unseen(event):
        lines.append(unseen.removeprefix(", " if lines else ", and "))
    for at, line in enumerate(lines):
        yield _label("" if at else "With", visible(line))
    yield from (_label("Differs", visible(line)) for line in exceptions.differences(event))


def describe_unseen(event: AuditedEvent) -> str:
    """Count the characters of a stopped call that nobody has seen, as the end of a sentence."""
    if (first := exceptions.find_arguments(event.findings)) or not exceptions.call_mark(event):
        unseen = int(first.get("unseen", 0))
        return f", and {unseen:,} characters that you have not seen" if unseen else ""
    return ", and any arguments that you have not seen"


def _read_object(text: str) -> dict[str, JsonValue]:
    with suppress(Refusal):
        return as_object(parse_json(text.encode()))
    return {}


def _wrap(text: str, label: str = "") -> str:
    """Wrap a text, but break neither a command nor a path in it."""
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
