"""Exceptions for false alarms: from an event in the audit to a few lines in the policy file.

The file's comments and order stay as they are: it inserts a few lines, reads the whole text
again, and only then replaces the file.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeguard.config.atomic_write import FREE_SPACE, OWNER_ONLY, is_full, replace_file
from pipeguard.errors import PipeGuardError, PolicyError
from pipeguard.firewall.finding import tells_private
from pipeguard.firewall.policy import ALLOWED_BY_CALL
from pipeguard.firewall.session.remedies import Way, decisive_rule, find_remedy
from pipeguard.state.audit import AuditFilter, AuditRow, parse_findings, rows
from pipeguard.state.exemption import Breadth, Exemption, entries, flow_entry
from pipeguard.state.paths import DEMO_STORE_NAME, has_store
from pipeguard.state.pins import Store
from pipeguard.state.store import open_store
from pipeguard.unicode.display import NAME_CHARS, quote, show

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Mapping, Sequence

    from pipeguard.config.policy_file import PolicyFile

WRITTEN_SECONDS = 2.0  # in which a verdict is in the audit, behind the answer
PAUSE_SECONDS = 0.1
WITHHELD = ("block", "ask", "cut")  # actions that remove text without a placeholder
STOPPED = (*WITHHELD, "redact")  # actions after which not all of a message is forwarded
NOT_REDACTED = "protocol.not-redacted"
DECISION = "approval"  # the kind of the rows of decisions
# The name of a call that waited, in the note of its end or of a decision. Another note may quote a
# server's words, but neither begins nor ends with them.
_ENDED = re.compile(r"(?:\Aevent (?=[\w.-]+(?:[,:]|\Z))| as event (?=[\w.-]+\Z))([\w.-]+)")


class AuditedEvent(NamedTuple):
    """A verdict, as the audit has it.

    Attributes:
        time: when the verdict was given.
        tool: the tool, or empty.
        method: the method, or empty.
        findings: the findings' fields by name, the most serious finding first.
        kind: of the message, as `result`.
        length_bytes: of its frame.
        is_of_demo: True for an event of `pipeguard demo`, which needs no decision.
        client: the client's name and version, or empty.
    """

    name: str
    time: str
    server: str
    tool: str
    method: str
    action: str
    findings: tuple[dict[str, str], ...]
    kind: str = ""
    length_bytes: int = 0
    is_of_demo: bool = False
    client: str = ""


def find_event(store: Path, name: str, *, with_demo: bool = False) -> AuditedEvent:
    """Look an event up in the audit, then in the store that the last demonstration left next to it.

    Args:
        store: the store.
        name: of the event.
        with_demo: whether an event of the demonstration will do, which cannot be decided on.

    Raises:
        StateError: the store cannot be read.
        PipeGuardError: no such event is in it.
    """
    until = monotonic() + WRITTEN_SECONDS  # an event of a run in the audit may still be written
    while (event := _look_up(store, name)) is None and monotonic() < until:
        if not _knows_run(store, name):
            break
        sleep(PAUSE_SECONDS)
    if event is not None:
        return event
    if (event := _look_up(store.with_name(DEMO_STORE_NAME), name)) is not None:
        if with_demo:
            return event._replace(is_of_demo=True)
        raise PipeGuardError(
            f"event {name} is of `pipeguard demo`: nothing is left to decide about it."
        )
    raise PipeGuardError(
        f"no event {name!r} is in the audit.\n  List those that are:  pipeguard audit list"
    )


def _knows_run(store: Path, name: str) -> bool:
    """True if the audit has anything of the run that an event names."""
    run, dot, _ = name.partition(".")
    if not dot or not has_store(store):
        return False
    with open_store(store) as opened:
        return any(rows(opened, AuditFilter(chain=run, limit=1)))


def _look_up(store: Path, name: str) -> AuditedEvent | None:
    if not has_store(store):
        return None
    with open_store(store) as opened:
        for row in rows(opened, AuditFilter(event=name)):
            if row.entry.kind != DECISION:  # the rest of an event that was removed for its age
                return to_event(row)
    return None


def is_wall(rule: str) -> bool:
    """True if a rule tells of something that an isolated server wanted."""
    return rule.startswith(("egress.", "isolation."))


def to_event(row: AuditRow) -> AuditedEvent:
    """The verdict of a row."""
    entry = row.entry
    names = entry.event, entry.time, row.server, entry.tool, entry.method, entry.action
    findings = tuple(parse_findings(entry))
    size = entry.frame_bytes
    return AuditedEvent(*names, findings, entry.kind, size, client=entry.client)


def stopping(event: AuditedEvent) -> list[dict[str, str]]:
    """The findings that kept an event from passing as it was.

    If the policy only observed, the findings that would have. A block or cut needs no exception for
    secrets next to it: these are replaced. A message that could not be redacted was stopped by the
    findings to redact.
    """
    of_actions = (
        [item for item in event.findings if enforced_action(item) in actions]
        for actions in (WITHHELD, ("redact",), ("warn",))
    )
    stopped: list[dict[str, str]] = next(filter(None, of_actions), [])
    if any(item["rule"] == NOT_REDACTED for item in stopped):
        redacted = [item for item in event.findings if enforced_action(item) == "redact"]
        stopped = [item for item in stopped if item["rule"] != NOT_REDACTED] + redacted
    waiting = {item.get("tool", "") for item in stopped if item["rule"].startswith("trust.")}
    others = [item for item in stopped if item.get("tool", "") not in waiting]
    return others or stopped  # a definition that waits is only left out of its list


def is_only_noted(event: AuditedEvent, rule: str) -> bool:
    """True if a rule stopped nothing, and would stop nothing in `mode: enforce`."""
    return not any(
        each["rule"] == rule and enforced_action(each) in STOPPED for each in event.findings
    )


def enforced_action(finding: dict[str, str]) -> str:
    """The action for a finding, or its action with `mode: enforce`."""
    return finding.get("would") or finding.get("action", "")


def narrowest(
    event: AuditedEvent, until: datetime.date | None, why: str, by: Breadth | None = None
) -> tuple[Exemption, ...]:
    """The exceptions that would have let an event pass, and as little else as possible.

    Args:
        event: the event.
        until: the last day on which they apply, or None.
        why: the person's reason.
        by: their width; None for the narrowest possible of each.

    Raises:
        PipeGuardError: no exception could, with the remedy instead; or none of this scope.
    """
    stopped = stopping(event)
    if not stopped:
        raise PipeGuardError(f"event {event.name} passed unchanged: there is nothing to allow.")
    rule = decisive(stopped)
    remedy = find_remedy(rule)
    if remedy.way is not Way.EXCEPTION:
        raise PipeGuardError(
            f"{rule} cannot be allowed by an exception.\n"
            f"  {complete_advice(remedy.advice, event, rule)}"
        )
    joined: dict[object, Exemption] = {}
    for item in stopped:
        if item.get("place"):
            names = item["rule"], event.server, item.get("tool", ""), item["place"], until, why
            each = Exemption(*names, **_narrow(event, item, by))
            is_text = each.content and item.get("pointer") and not tells_private(each.rule)
            pack = each.rule.partition(".")[0]
            same = (pack, each.tool, each.place, item["pointer"]) if is_text else each
            joined[same] = joined.get(same, each).join(each)
    return tuple(joined.values())


def scopes(event: AuditedEvent) -> tuple[Breadth, ...]:
    """Widths that an exception for an event can have, the narrowest first."""
    stopped = stopping(event)
    return tuple(
        scope
        for scope in Breadth
        if scope is Breadth.TOOL or (stopped and all(item.get(scope.value) for item in stopped))
    )


def is_decided_by_call(event: AuditedEvent) -> bool:
    """True for a call that is allowed once, not for good: it waits, or a flow stopped it."""
    is_by_call = any(item["rule"].startswith(ALLOWED_BY_CALL) for item in stopping(event))
    return (is_by_call or is_held(event)) and bool(call_mark(event))


def held_events(store: Store, since: str) -> list[AuditedEvent]:
    """The calls that wait for a decision, if they came after a moment; none that was decided.

    Raises:
        StateError: the store cannot be read.
    """
    asked = [*rows(store, AuditFilter(since=since, is_stopped=True, action="ask"))]
    if not asked:
        return []
    later = rows(store, AuditFilter(from_event=asked[0].entry.event, note="event "))
    notes = (each.get("note", "") for row in later for each in parse_findings(row.entry))
    ended = {name for note in notes for name in _ENDED.findall(note)}
    return [to_event(row) for row in asked if row.entry.event not in ended]


def stopped_events(store: Store, since: str, limit: int) -> list[AuditedEvent]:
    """The events that stopped or changed something after a moment, the newest first.

    Args:
        store: the store.
        since: the moment (ISO 8601, UTC).
        limit: at most this many.

    Raises:
        StateError: the store cannot be read.
    """
    where = AuditFilter(since=since, is_stopped=True, limit=limit)
    found = [to_event(row) for row in rows(store, where) if row.entry.event]
    return sorted(found, key=lambda event: event.time, reverse=True)


def is_held(event: AuditedEvent) -> bool:
    """True for a call that waited for a decision, and may still do so."""
    return event.action == "ask"


def call_mark(event: AuditedEvent) -> str:
    """The mark with which a stopped call can be granted once; empty if it cannot be."""
    marks = {item.get("call", "") for item in stopping(event)}
    return marks.pop() if len(marks) == 1 else ""


def find_arguments(findings: Iterable[Mapping[str, str]]) -> Mapping[str, str]:
    """The finding that has the arguments of a call; empty if none has."""
    return next((each for each in findings if each.get("arguments")), {})


def differences(event: AuditedEvent) -> list[str]:
    """The differences of a stopped call from the last ones that passed, a line each."""
    texts = dict.fromkeys(item.get("differs", "") for item in stopping(event))
    return [line for text in texts for line in text.splitlines()]


def _narrow(event: AuditedEvent, item: dict[str, str], by: Breadth | None) -> dict[str, Any]:
    """The part that makes an exception narrow: its content, its path or its host."""
    if by is None:
        by = next(scope for scope in Breadth if scope is Breadth.TOOL or item.get(scope.value))
    if by is Breadth.TOOL:
        return {}
    if not item.get(by.value):
        choices = ", ".join(scope.value for scope in scopes(event))
        raise PipeGuardError(
            f"an exception for event {event.name} cannot be limited by {by.value}.\n"
            f"  Choose from: {choices}"
        )
    return {by.value: item[by.value]}


def decisive(stopped: Sequence[dict[str, str]]) -> str:
    """The rule that decides an event's remedy: the one hardest to let pass."""
    rules = [(item["rule"], "") for item in stopped]
    return decisive_rule(rules[0][0], "", rules)


def complete_advice(advice: str, event: AuditedEvent, rule: str) -> str:
    """Advice about an event, with the event's own words in the commands."""
    server, rule_name = (quote(show(name, NAME_CHARS)) for name in (event.server or "SERVER", rule))
    own = {"SERVER": server, "NAME": server, "RULE": rule_name, "EVENT": event.name}
    return re.sub(rf"\b({'|'.join(own)})\b", lambda word: own[word[0]], advice)


def allow(path: str, exemptions: Sequence[Exemption], today: datetime.date) -> str | None:
    """Add exceptions to a policy file's text; nothing is written.

    Args:
        path: the user's policy file, which need not exist.
        exemptions: the exceptions to add.
        today: the date.

    Returns:
        The new text; None if all of them are in the file already.

    Raises:
        PolicyError: the file is invalid, or its layout leaves no safe place to insert them.
    """
    from pipeguard.config.container import with_items  # here: `explain` writes no policy
    from pipeguard.config.policy_edit import prove, read_policy
    from pipeguard.config.yaml_text import Yaml

    text, before = read_policy(path, today)
    present = {exempt.where for exempt in before.layer.exceptions}
    added = [exemption for exemption in exemptions if exemption.where not in present]
    if not added:
        return None
    lines = partial(entries, added)
    flow = list(map(flow_entry, added))
    insert = partial(with_items, text, Yaml(), ("exceptions",), flow, lines)
    changed = prove(path, today, insert, partial(_has_one_difference, added, before))
    if changed is not None:
        return changed
    raise PolicyError(
        f"PipeGuard cannot edit {path} safely, because of its layout."
        " Add this to its `exceptions`:\n"
        f"{entries(added, '  ')}".rstrip()
    )


def save(path: str, text: str) -> None:
    """Replace a policy file as a whole; a link to it stays one.

    Raises:
        PolicyError: it cannot be written.
    """
    target = Path(path).resolve()
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = target.stat().st_mode & 0o777 if target.exists() else OWNER_ONLY
        replace_file(target, text.encode(), mode)
    except OSError as error:
        advice = f"\n  {FREE_SPACE}" if is_full(error) else ""
        raise PolicyError(f"{path} cannot be written: {error.strerror}.{advice}") from None


def _has_one_difference(added: Sequence[Exemption], before: PolicyFile, after: PolicyFile) -> bool:
    """True if the new file is the old one with the added exceptions at its end."""
    old = before.layer.exceptions
    new = after.layer.exceptions[len(old) :]
    layer = before.layer._replace(exceptions=old + new)
    is_same = after == before._replace(layer=layer, notes=after.notes)
    return is_same and [exempt.where for exempt in new] == [item.where for item in added]
