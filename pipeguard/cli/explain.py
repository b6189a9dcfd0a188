"""`pipeguard explain`: what a rule is for, or what happened at an event. Reads only."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

import click

from pipeguard.cli import _completions as completions
from pipeguard.config.strict_yaml import suggestion
from pipeguard.errors import PipeGuardError
from pipeguard.firewall.finding import Action
from pipeguard.firewall.session.remedies import Way, find_remedy
from pipeguard.rulebook.packs import load_rules
from pipeguard.rulebook.proof import sample_place, texts
from pipeguard.rulebook.reference import usual_action
from pipeguard.state.exceptions import (
    STOPPED,
    decisive,
    differences,
    enforced_action,
    find_event,
    stopping,
)
from pipeguard.state.paths import store_path
from pipeguard.state.schema import MAX_NAME_CHARS
from pipeguard.unicode.display import cut, quote, visible

if TYPE_CHECKING:
    from pipeguard.detect.rules.rule import Rule
    from pipeguard.isolation import GivenNow
    from pipeguard.state.exceptions import AuditedEvent


from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeguard.state.exceptions import AuditedEvent

# ---  walls -----------------------------------------------------------------------------
# What `pipeguard explain` says of what an isolated server did not get, in words for each kind.

_SAID = (
    " The server named this in an answer that failed. PipeGuard has only its word for it: you"
    " see it here, and it grants the server nothing."
)
# By rule, in place of the text of its family. What to do is in firewall.session.remedies.
WALLS: dict[str, str] = {
    "egress.host": (
        "An isolated server reaches only the hosts that it is given, so that what it reads cannot"
        " be sent elsewhere. It asked for one that neither your policy nor its options name. The"
        " audit has the host and the port, and nothing of what was to be sent."
    ),
    "egress.port": (
        "The server is given this host, at other ports. Each port is given by itself, without one"
        " 443 and 80, since another port is another service."
    ),
    "egress.address": (
        "The server is given this host, but its name leads only to addresses that are not public:"
        " of a private network, of this machine, or of what gives out a machine's credentials."
        " Whoever answers for a name could else lead the server into your network."
    ),
    "egress.failed": (
        "The server may reach this host, and the connection failed outside. PipeGuard refused"
        " nothing."
    ),
    "egress.malformed": (
        "PipeGuard cannot read what the server sent to its sandbox's proxy as a request, or"
        " could read it in two ways. Since the target is not certain, the connection is"
        " refused."
    ),
    "egress.unsupported": (
        "The server asked the proxy of its sandbox for something that it does not do, as BIND or"
        " UDP of SOCKS, or an `https:` address without CONNECT."
    ),
    "egress.slow": (
        "The server opened a connection to its sandbox's proxy, and did not name a target in time."
    ),
    "egress.too-many": (
        "The server has as many connections open, or names in use, as one sandbox may have, so that"
        " it cannot use up what your machine has."
    ),
    "egress.withdrawn": (
        "The policy changed while the connection was open, and no longer grants its target."
        " PipeGuard closed it."
    ),
    "isolation.read": "An isolated server sees no file of yours except what it was given." + _SAID,
    "isolation.write": (
        "An isolated server changes only what it is given to change; anything else that it sees it"
        " may only read. Where nothing was stopped, the event names what was made while the server"
        " ran and your programs run later: look at it before you use that folder." + _SAID
    ),
    "isolation.port": (
        "The ports of this machine (`127.0.0.1`, `::1`, `localhost`) are services of yours, as"
        " databases, and many ask for no login. An isolated server reaches those that it is given"
        " by number. This one it was refused."
    ),
}
GIVE = "Give the server exactly that:"
GIVEN_BY_NOW = "Nothing: your policy now grants what the server wanted."
_KINDS = {
    "isolation.read": "to read {}",
    "isolation.write": "to change {}",
    "isolation.port": "port {} of this machine",
}
_FAILED = "The server is isolated. What it wanted is granted, but could not be reached."
_REFUSED = "The server is isolated, and did not get what it wanted."


def is_wall(rule: str) -> bool:
    """True if a rule tells of something that an isolated server wanted."""
    return rule.startswith(("egress.", "isolation."))


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

# Rules that are code, not entries of a pack, by family or alone: what they are. What to do is in
# firewall.session.remedies.
FAMILIES: dict[str, str] = {
    "protocol": (
        "A message that breaks JSON-RPC or MCP, or that two programs could read differently, so"
        " that what was judged is not what the other side understands. It never passes, and no"
        " exception allows it. What is merely unusual passes with a note. Your policy decides where"
        " a message costs more than the limit: more is encoded in it than is decoded"
        " (`protocol.view-limit`), a classifier would have to read more of it"
        " (`protocol.read-limit`), or it takes too long (`protocol.scan-limit`); and its `limits`"
        " decide how large a message, and how many of them, may be."
    ),
    "trust": (
        "A definition that waits for a person: never approved, or changed since it was approved or"
        " first seen."
    ),
    "flows": (
        "What one tool returned leaves through another: a secret (`flows.secret-out`), private"
        " text (`flows.private-out`), or text that anybody may have written and that is now run,"
        " stored or obeyed (`flows.untrusted-acts`). With `flows.ordered`, a sentence of a result"
        " asked its reader to do what the call does, with a value that the client had not named:"
        " whoever wrote it may be using the model in your name. A flow is blocked where it is"
        " certain: mail, calendars and records that go to an address or to everybody, private"
        " text that was encoded first, and what a text tells a model to do. A tool's definition"
        " says what it does; results are remembered for half an hour, only in memory. The tool that"
        " a policy names is the one that is called."
    ),
    "policy": "A tool that your own policy blocks, or that a gateway does not offer.",
    "entrance": (
        "A request to the address of `wrap --listen` that was refused: the wrong name, web page,"
        " token or session, headers that contradict the body, or more than a limit allows. None of"
        " it was forwarded, and nothing is recorded but the address that it came from. For each"
        " such rule the audit has a row at once, and then one a minute with the number of further"
        " requests."
    ),
    "egress": "A connection that an isolated server asked for and did not get.",
    "isolation": "A file, folder or port of your machine that an isolated server did not get.",
    **WALLS,
    "search": (
        "A tool of `pipeguard serve` whose description is written for the search: a keyword or"
        " another server's name over and over, or very many keywords. It ranks no higher for that,"
        " but an honest tool has no use for it."
    ),
    "audit": (
        "A note of the audit about itself: something could not be recorded, or was removed for its"
        " age, as your policy says; or where the policy files of a run are, if not where they"
        " usually are, so that `pipeguard allow` writes to them."
    ),
    "secrets.foreign-placeholder": (
        "A placeholder in a call that stands for a secret of another server, of another client or"
        " of an earlier run, or of nobody. Secrets are put back only for the server that they came"
        " from, as long as it runs."
    ),
    "secrets.known": (
        "A secret that PipeGuard sent to the server, or read from the keyring for it, in what the"
        " server says. It is taken out, in every encoding that is known."
    ),
    "secrets.put-back": (
        "A secret of this server that went back to it in place of its placeholder. Nothing was"
        " stopped."
    ),
}
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
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def command(what: str, *, as_json: bool) -> None:
    """Say what a RULE finds, why that matters and what to do; or what happened at an EVENT.

    A block names both. A rule's example is made from the rule's own samples.

    \b
    Examples:
      pipeguard explain secrets.github-token
      pipeguard explain K7Q2M9D4.c12
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


def _event_fields(event: AuditedEvent, rules: dict[str, Rule]) -> dict[str, object]:
    now = _now(event)
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
        "commands": [command for _, command in _decisions(event, now)],
    }


def _words(rule: str, rules: dict[str, Rule]) -> dict[str, str]:
    if rule in rules:
        return {"title": rules[rule].title, "why": rules[rule].why, "fix": rules[rule].fix}
    about = FAMILIES.get(rule) or FAMILIES.get(rule.partition(".")[0])
    if about is None:
        return {"title": "", "why": "This rule is no longer installed.", "fix": ""}
    return {"title": "", "why": about, "fix": find_remedy(rule).advice}


def _event_page(event: AuditedEvent, rules: dict[str, Rule]) -> str:
    what = " ".join(filter(None, (event.method, event.tool)))
    what = what or ("what it said" if describe_outcome(event) else "a message")
    head = f"{event.time}, server {event.server}: {what}"
    lines = [f"{click.style(event.name, bold=True)}: {visible(head)}"]
    usual = _OUTCOMES.get(event.action, f"PipeGuard's action was {event.action}.")
    now = _now(event)
    lines.append(describe_outcome(event) or usual)
    if now is not None:
        lines.append(_wrap(now.holds))
    lines += [_label("Differs", visible(line)) for line in differences(event)]
    for rule in dict.fromkeys(finding["rule"] for finding in event.findings):
        words = _words(rule, rules)
        title = f": {words['title']}" if words["title"] else ""
        lines += ["", f"{click.style(visible(rule), bold=True)}{title}"]
        passages: dict[tuple[str, ...], dict[str, str]] = {}
        for finding in event.findings:
            if finding["rule"] == rule:
                passages.setdefault(_passage(finding), finding)
        lines += [
            line
            for finding in passages.values()
            for line in _passage_lines(finding, event, is_past=now is not None)
        ]
        refused = _why_not_given(event) if is_wall(rule) else ""
        what_to_do = (refused or words["fix"]) if now is None else GIVEN_BY_NOW
        about = (("Why", words["why"]), ("Do", what_to_do))
        lines += [_label(label, visible(text)) for label, text in about if text]
    lines += ["", *(f"{label}  {command}" for label, command in _decisions(event, now))]
    return "\n".join(lines).rstrip()


def _passage(finding: dict[str, str]) -> tuple[str, ...]:
    """Merge what a person takes for one passage: readings may begin at another blank."""
    place, pointer = finding.get("place", ""), finding.get("pointer", "")
    return place, pointer, finding.get("action", ""), finding.get("excerpt", "").strip(" .,;:\n")


def _passage_lines(finding: dict[str, str], event: AuditedEvent, *, is_past: bool) -> list[str]:
    """Describe the place of a finding, and the finding."""
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
    texts = (
        ("Seen", f"{where}{as_view}; {level}; {action}{would}"),
        ("Cut" if event.action == action == "cut" else "Text", finding.get("excerpt", "")),
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
    from pipeguard.cli._give import why_not_given

    return why_not_given(event)


def _decisions(event: AuditedEvent, now: GivenNow | None) -> list[tuple[str, str]]:
    """The commands with which a person can decide about an event; models never see them."""
    if now is not None:
        return [("Take it back:", now.command)]
    if not any(enforced_action(each) in STOPPED or is_file(each) for each in event.findings):
        return []
    steps = []
    waiting = [f for f in event.findings if find_remedy(f["rule"]).way is Way.APPROVE]
    if waiting:
        tool = next((finding["tool"] for finding in waiting if finding.get("tool")), "")
        is_whole = 0 < len(tool) < MAX_NAME_CHARS  # the audit cuts longer ones
        target = quote(f"{event.server}/{tool}" if is_whole else event.server)
        steps = [
            ("Look at it:", f"pipeguard diff {target}"),
            ("Accept it: ", f"pipeguard approve {target}"),
        ]
    way = find_remedy(decisive(stopping(event))).way
    if way is Way.EXCEPTION:
        steps.append(("If you want it all the same:", f"pipeguard allow {event.name}"))
    elif way is Way.GRANT and not _why_not_given(event):
        steps.append((GIVE, f"pipeguard allow {event.name}"))
    elif way is Way.POLICY:
        steps.append(("Your policy is in the file that this names:", "pipeguard policy path"))
    return steps


def _wrap(text: str) -> str:
    return textwrap.fill(text, WIDTH)


def _label(label: str, text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=f"{label:<8} ", subsequent_indent=" " * 9)
