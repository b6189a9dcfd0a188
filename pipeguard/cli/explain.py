"""`pipeguard explain`: what a rule is for, or what an event was. Reads only."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

import click

from pipeguard.cli import _completing as completing
from pipeguard.config.strict_yaml import suggestion
from pipeguard.core.finding import Action
from pipeguard.core.unicode.display import cut, quoted, visible
from pipeguard.errors import PipeGuardError
from pipeguard.rulebook.packs import load_rules
from pipeguard.rulebook.proof import sample_place, texts
from pipeguard.rulebook.reference import usual_action
from pipeguard.state.exceptions import find_event
from pipeguard.state.paths import store_path

if TYPE_CHECKING:
    from pipeguard.core.rules.rule import Rule
    from pipeguard.state.exceptions import AuditedEvent

WIDTH = 88  # characters of a line
SAMPLE_CHARS = 160  # of an example: two lines

# Families of rules that are code, not entries of a pack: what they are, and what to do.
FAMILIES: dict[str, tuple[str, str]] = {
    "protocol": (
        (
            "A message that breaks JSON-RPC or MCP, or that two programs could read differently:"
            " then what was judged is not what the other side understands. It never passes, and"
            " no exception lets it. What is only odd passes, and is noted. Policy decides where a"
            " message costs more than one may: more is encoded in it than is decoded"
            " (`protocol.view-limit`), a classifier should read more of it (`protocol.read-limit`),"
            " or it takes too long (`protocol.scan-limit`)."
        ),
        "Tell the author of the client or the server; the event's note says what was wrong.",
    ),
    "trust": (
        "A definition that waits for a person: it was never approved, or changed since it was.",
        (
            "Look at it with `pipeguard diff SERVER`, then accept it with `pipeguard approve"
            " SERVER`, or stop using the server."
        ),
    ),
    "flows": (
        (
            "What came back from one tool leaves through another: a secret (`flows.secret-out`),"
            " private text (`flows.private-out`), or text that anybody may have written and that"
            " is now run, kept or obeyed (`flows.untrusted-acts`). It is blocked where it is sure:"
            " mail, calendars and records that go to an address or to everybody, private text that"
            " was encoded first, and what a text tells a model to do. What a tool does is told by"
            " its definition; what came back is kept for half an hour, in memory alone."
        ),
        (
            "Look at what was sent and to whom. If you want it, allow the event, or set the rule to"
            " `allow` for this server in the policy."
        ),
    ),
    "policy": (
        "A tool that your own policy keeps from being called.",
        "Change `tools` in the policy file: `pipeguard policy path` says where it stands.",
    ),
    "entrance": (
        (
            "Somebody came to the address of `wrap --listen` and was not let in: the wrong name,"
            " web page, token or session, headers that contradict the body, or more than a limit"
            " allows. Nothing of it went on, and nothing of it is kept but the address that it came"
            " from. Of each such rule the audit has a row at once, and then one a minute with how"
            " many more there were."
        ),
        (
            "Who may come in: `--token-env`, `--allow-host` and `--allow-origin` of `pipeguard"
            " wrap`. Somebody who tries tokens is to be kept off by the network."
        ),
    ),
    "audit": (
        (
            "A note of the audit about itself: something could not be kept, or was kept for as long"
            " as your policy says."
        ),
        "See `pipeguard audit verify`, and whether the disk is full.",
    ),
}


@click.command("explain", short_help="What a rule is for, or what an event was.")
@click.argument("what", metavar="RULE|EVENT", shell_complete=completing.rules_and_events)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def command(what: str, *, as_json: bool) -> None:
    """Say what a RULE finds, why that matters and what to do; or what happened at an EVENT.

    A block names both. A rule's example is made up by the rule's own samples.

    \b
    Examples:
      pipeguard explain secrets.github-token
      pipeguard explain K7Q2M9D4.c12
    """  # noqa: D301  click reads the mark
    rules = {rule.id: rule for rule in load_rules()}
    family, dot, name = what.partition(".")
    if what in rules:
        told = rule_fields(rules[what])
        click.echo(json.dumps(told, indent=2) if as_json else _rule_page(rules[what]))
    elif dot and family in FAMILIES and name:
        about, fix = FAMILIES[family]
        told = {"rule": what, "why": about, "fix": fix}
        click.echo(json.dumps(told, indent=2) if as_json else _family_page(what, about, fix))
    elif family.islower():
        near = suggestion(what, [*rules])
        raise PipeGuardError(
            f"no rule is called {what!r}.{near}\n  List them:  pipeguard rules list"
        )
    else:
        event = find_event(store_path(), what)
        if as_json:
            click.echo(json.dumps(_event_fields(event, rules), indent=2))
        else:
            click.echo(_event_page(event, rules))


def rule_fields(rule: Rule) -> dict[str, object]:
    """A rule as a program reads it, with an example of what it finds."""
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
        "owasp": rule.owasp,
        "example": example(rule),
        "near_miss": texts(rule.passes[0])[0],
    }


def example(rule: Rule) -> str:
    """What the rule finds: its first sample, written out."""
    return texts(rule.matches[0])[0]


def _rule_page(rule: Rule) -> str:
    surface = min(rule.surfaces, key=lambda one: one.value)
    does = "is blocked" if usual_action(rule) is Action.BLOCK else "is noted as a warning"
    level = f"severity {rule.severity.name.lower()}, confidence {rule.confidence.name.lower()}"
    looks = ", ".join(sorted(one.value for one in rule.surfaces))
    at = f" ({', '.join(rule.places)})" if rule.places else ""
    return "\n".join(
        [
            f"{click.style(rule.id, bold=True)}: {rule.title}",
            _wrapped(f"{level}: what it finds {does}, unless your policy says otherwise."),
            _wrapped(f"Looks at {looks}{at}."),
            "",
            _labelled("Why", rule.why),
            _labelled("Do", rule.fix),
            "",
            _labelled("Finds", cut(visible(example(rule)), SAMPLE_CHARS)),
            _labelled("Lets by", cut(visible(texts(rule.passes[0])[0]), SAMPLE_CHARS)),
            _labelled("Place", f"as in {sample_place(rule, surface)}; the text is made up"),
            *([_labelled("OWASP", rule.owasp)] if rule.owasp else []),
        ]
    )


def _family_page(name: str, about: str, fix: str) -> str:
    head = click.style(name, bold=True)
    return "\n".join([head, "", _labelled("What", about), _labelled("Do", fix)])


def _event_fields(event: AuditedEvent, rules: dict[str, Rule]) -> dict[str, object]:
    findings = [finding | _words(finding["rule"], rules) for finding in event.findings]
    return {
        "event": event.name,
        "time": event.time,
        "server": event.server,
        "tool": event.tool,
        "method": event.method,
        "action": event.action,
        "findings": findings,
        "commands": [command for _, command in _decisions(event)],
    }


def _words(rule: str, rules: dict[str, Rule]) -> dict[str, str]:
    if rule in rules:
        return {"title": rules[rule].title, "why": rules[rule].why, "fix": rules[rule].fix}
    about, fix = FAMILIES.get(rule.partition(".")[0], ("This rule is not installed any more.", ""))
    return {"title": "", "why": about, "fix": fix}


def _event_page(event: AuditedEvent, rules: dict[str, Rule]) -> str:
    what = " ".join(filter(None, (event.method, event.tool)))
    head = f"{event.time}, server {event.server}: {what or 'a message'}"
    lines = [f"{click.style(event.name, bold=True)}: {visible(head)}"]
    lines.append(_wrapped(f"It got the action {event.action}."))
    for finding in event.findings:
        rule, words = finding["rule"], _words(finding["rule"], rules)
        title = f": {words['title']}" if words["title"] else ""
        lines += ["", f"{click.style(visible(rule), bold=True)}{title}"]
        seen = f"in {finding.get('place', '')} {finding.get('pointer', '')}".rstrip()
        level = f"severity {finding.get('severity')}, confidence {finding.get('confidence')}"
        view = finding.get("view", "text")
        read = "" if view == "text" else f", read as {view}"
        lines.append(_labelled("Seen", visible(f"{seen}{read}; {level}; {finding.get('action')}")))
        lines += [
            _labelled(label, visible(text))
            for label, text in (
                ("Text", finding.get("excerpt", "")),
                ("Note", finding.get("note", "")),
                ("Why", words["why"]),
                ("Do", words["fix"]),
            )
            if text
        ]
    lines += ["", *(f"{label}  {command}" for label, command in _decisions(event))]
    return "\n".join(lines).rstrip()


def _decisions(event: AuditedEvent) -> list[tuple[str, str]]:
    """What a person can do about an event, as commands: no model is told of them."""
    rules = [finding["rule"] for finding in event.findings]
    if any(rule.startswith("trust.") for rule in rules):
        tool = next((finding["tool"] for finding in event.findings if finding.get("tool")), "")
        target = quoted(f"{event.server}/{tool}" if tool else event.server)
        return [
            ("Look at it:", f"pipeguard diff {target}"),
            ("Accept it: ", f"pipeguard approve {target}"),
        ]
    if event.action in ("block", "redact"):
        return [("If it is a false alarm:", f"pipeguard allow {event.name}")]
    return []


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH)


def _labelled(label: str, text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=f"{label:<8} ", subsequent_indent=" " * 9)
