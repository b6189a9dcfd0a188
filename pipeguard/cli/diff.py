"""`pipeguard diff`: pending definitions, old and new. Changes nothing."""

import difflib
import json
import os
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from time import monotonic

import click

from pipeguard.cli._decide import kind_option, match_definitions, target_argument, tell_nothing
from pipeguard.cli._emit import Fields, colour_change, emit, json_option, render, wants_json
from pipeguard.config.options import WrapOptions
from pipeguard.detect.detector import Engines
from pipeguard.errors import EngineError
from pipeguard.firewall.finding import Finding, Severity
from pipeguard.firewall.pins.fingerprint import canonical
from pipeguard.firewall.pins.store import REVIEW
from pipeguard.firewall.policy import Policy
from pipeguard.firewall.protocol.places import LISTS
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.rulebook.policy_rules import load_wrap_policy
from pipeguard.rulebook.trial import TextRole, TrialInput, judge
from pipeguard.runtime.progress import wait_for_engines
from pipeguard.state.review import StoredDefinition, held_definitions, reviewable_definitions
from pipeguard.state.store import open_store
from pipeguard.unicode.display import show, visible

LINE_CHARS = 80  # a longer text is shown one sentence a line, so that a diff finds the sentence
NOTHING_WAITS = "Nothing waits for approval"
LIST_CHARS, PAGE_CHARS = 200_000, 16_000  # of all definitions that a list shows, and of each
DIFF_LINES = 5000  # of one definition: difflib takes quadratic time


@click.command("diff", short_help="Show definitions that changed and wait for approval.")
@target_argument
@kind_option
@json_option
def command(target: str | None, kind: str | None) -> None:
    """Show what a server offers now next to what was approved, or first seen.

    Without SERVER, for all servers. If nothing of SERVER waits, it shows what was trusted at first
    sight and nobody has approved. Invisible characters are shown as ⟨U+200B⟩.

    \b
    Examples:
      pipeguard diff
      pipeguard diff weather
      pipeguard diff weather/get_forecast

    \b
    Exit codes:
      0  nothing waits for approval
      1  something does
      2  no such server or tool
    """  # noqa: D301  click reads the mark
    with open_store() as store:
        waiting = find_reviewable(store, target, kind)
        servers = store.servers()
    fields = [
        {
            **as_fields(entry),
            "findings": finding_fields(definition_findings(entry)) if _is_scanned() else None,
            "search": _stuffing(entry, servers),
        }
        for entry in waiting
    ]
    if waiting or wants_json():
        emit(fields, partial(_pages, waiting), code=int(any(entry.waits for entry in waiting)))
    click.echo(tell_nothing(NOTHING_WAITS, target))


def _pages(waiting: list[StoredDefinition], fields: list[Fields]) -> str:
    """Show each definition, and the commands that decide; the safer one comes first."""
    pages = [
        (entry, page(entry), is_severe(definition_findings(entry)), shown["search"])
        for entry, shown in zip(waiting, fields, strict=True)
    ]
    return render("diff", {"pages": pages})


def _stuffing(entry: StoredDefinition, servers: Iterable[str]) -> list[str]:
    """List text in a held tool that is written for the gateway's search."""
    from pipeguard.gateway.stuffing import stuffing

    definition = parse_json((entry.pin.held_definition or "null").encode())
    if entry.pin.kind != "tool" or not isinstance(definition, dict):
        return []
    others = [server for server in servers if server != entry.server]
    return [
        f"{finding.rule}: {visible(finding.note)}"
        for finding in stuffing(definition, entry.server, others)
    ]


# The definitions that wait for approval; and with a target, those trusted at first sight.
find_held = partial(match_definitions, held_definitions)
find_reviewable = partial(match_definitions, reviewable_definitions)


def as_fields(entry: StoredDefinition) -> dict[str, object]:
    """Format a held definition for programs; both versions as canonical JSON."""
    pin = entry.pin
    return {
        "server": entry.server,
        "kind": pin.kind,
        "name": pin.name,
        "reason": pin.reason,
        "drift": [drift.value for drift in entry.drift],
        "changes": entry.changes,
        "approved": None if entry.trusted_version is None else _canonical(entry.trusted_version),
        "approved_fingerprint": None if entry.trusted_version is None else pin.approved_fingerprint,
        "approved_at": pin.approved_at,
        "reviewed": bool(pin.is_reviewed),
        "held": pin.held_definition and _canonical(pin.held_definition),
        "held_fingerprint": pin.held_fingerprint,
        "held_at": pin.held_at,
        "approve": entry.spell_command("approve"),
        "reject": entry.spell_command("reject"),
    }


def page(entry: StoredDefinition) -> str:
    """Render a held definition for people: its changes, and the diff."""
    pin = entry.pin
    head = {"entry": entry, "pin": pin, "findings": definition_findings(entry)}
    compared = unified_diff(entry.trusted_version, pin.held_definition or "null", pin.origin)
    return "\n".join([render("definition", head), "", *map(colour_change, compared), ""])


def list_pages(
    entries: Sequence[StoredDefinition], opened: Sequence[StoredDefinition], *, is_full: bool = True
) -> tuple[list[str], int]:
    """Render definitions within the limits: flagged ones first, then changed ones.

    Args:
        entries: the definitions.
        opened: those to decide on.
        is_full: whether new definitions in which nothing is found are shown in full, too.

    Returns:
        The pages, with a last line that counts them; and the number of characters of the opened
        definitions that are not shown.
    """
    flagged = {*filter(read_first, entries)}
    limit = min(PAGE_CHARS, LIST_CHARS // len(entries))
    left = 0
    pages = list[str]()
    for entry in sorted(entries, key=lambda each: (each not in flagged, not each.trusted_version)):
        shown = "flagged: " * (entry in flagged) + page(entry)
        whole = click.unstyle(shown)
        line = "" if is_full else _describe_new(entry)
        if more := max(0, len(whole) - (len(line) or limit)):
            words = f"and {more:,} characters that you have not seen"
            shown = line or f"{whole[:limit]}\n  {words}:  {entry.spell_command('diff')}\n"
        left += more * (entry in opened)
        pages.append(shown)
    rest = "" if is_full else " What is new and clean has a line: all of it with --full."
    return [*pages, f"{len(entries)} definitions, of which {len(flagged)} flagged.{rest}"], left


def _describe_new(entry: StoredDefinition) -> str:
    """Describe a new definition in which nothing is found on a line; empty for any other."""
    pin = entry.pin
    is_new = pin.reason in ("", REVIEW) and not entry.trusted_version and pin.kind in _MEMBERS
    if not is_new or not _is_scanned() or definition_findings(entry):
        return ""
    held = json.loads(pin.held_definition or "{}")
    if pin.kind == "skill":
        held = held["frontmatter"]
    text = show(str(held.get("description", "")), LINE_CHARS)
    return f"{entry.target}  {str(pin.held_fingerprint)[:16]}  {text}  {entry.name_note}".rstrip()


def unified_diff(trusted: str | None, seen: str, origin: str) -> list[str]:
    """Make a unified diff of two definitions, with every character visible."""
    old = pretty(trusted) if trusted else []
    new = pretty(seen)
    if not old or len(old) > DIFF_LINES or len(new) > DIFF_LINES:
        return [f"+{line}" for line in new]
    return list(difflib.unified_diff(old, new, origin, "held", lineterm=""))


def pretty(text: str) -> list[str]:
    """Format a definition in lines: one a member or sentence, with every character visible."""
    lines = []
    for line in json.dumps(json.loads(_canonical(text)), indent=2, ensure_ascii=False).split("\n"):
        first, *rest = _SENTENCE_END.split(line) if len(line) > LINE_CHARS else [line]
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        lines += [visible(first), *(f"{indent}{visible(piece)}" for piece in rest)]
    return lines


_SENTENCE_END = re.compile(r"(?<=\\n)|(?<=[.!?] )")


def _canonical(text: str) -> str:
    """Return the canonical form, in which only relevant differences remain."""
    return canonical(parse_json(text.encode("utf-8"))).decode("utf-8")


# ---  definition findings ---------------------------------------------------------------
# The rules' findings in a definition that waits for a person.

_MEMBERS = {kind: member for member, kind, _ in LISTS.values()} | {"content": "resources"}


@lru_cache(maxsize=1000)  # a page and its next steps ask for the same
def definition_findings(entry: StoredDefinition) -> tuple[Finding, ...]:
    """Scan the current definition; return its findings, the most serious first.

    Empty if the scan engine is missing: a definition can be compared without it.
    """
    definition = entry.pin.held_definition
    if definition is None:
        return ()
    member = _MEMBERS.get(entry.pin.kind)  # the server's own opening is in no list
    text = definition if member is None else f'{{"{member}": [{definition}]}}'
    try:
        engines, policy = _judge()
    except EngineError:
        return ()
    trial_input = TrialInput(text, TextRole.DEFINITION, server=entry.server)
    trial = judge(engines, policy, trial_input, os.urandom(32), monotonic())
    return tuple(located.finding for located in trial.findings)


def finding_fields(findings: Sequence[Finding]) -> list[dict[str, object]]:
    """Format findings as JSON."""
    return [
        {
            "rule": finding.rule,
            "severity": finding.severity.name.lower(),
            "confidence": finding.confidence.name.lower(),
            "place": finding.place,
            "excerpt": visible(finding.excerpt),
            "note": finding.note,
        }
        for finding in findings
    ]


def is_severe(findings: Sequence[Finding]) -> bool:
    """True if a finding is severe, so that a person should reject the definition."""
    return any(finding.severity >= Severity.HIGH for finding in findings)


def read_first(entry: StoredDefinition) -> str:
    """Return the command that shows a flagged definition; empty for others.

    It is flagged if a rule finds something severe in it, or if it resembles another one.
    """
    is_alarming = entry.pin.reason.startswith(("poisoned", "look-alike"))
    is_flagged = is_alarming or is_severe(definition_findings(entry))
    return entry.spell_command("diff") if is_flagged else ""


def _is_scanned() -> bool:
    """False if the scan engine is missing: then an empty list of findings means nothing."""
    try:
        _judge()
    except EngineError:
        return False
    return True


@lru_cache
def _judge() -> tuple[Engines, Policy]:
    policy = load_wrap_policy(WrapOptions())
    return wait_for_engines(), policy
