"""Exceptions for false alarms: from an event in the audit to a few lines in the policy file.

The file's comments and order stay as they are: it inserts a few lines, reads the whole text
again, and only then replaces the file.
"""

from __future__ import annotations

import glob
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from pipeguard.config.atomic_write import OWNER_ONLY, replace_file
from pipeguard.config.policy_file import PolicyScope, parse_policy, policy_text
from pipeguard.core.rules.policy import Selector
from pipeguard.core.session.remedies import Way, decisive_rule, remedy_of
from pipeguard.core.unicode.display import quoted
from pipeguard.errors import PipeGuardError, PolicyError
from pipeguard.state.audit import AuditFilter, rows
from pipeguard.state.schema import MAX_NAME_CHARS
from pipeguard.state.store import Store

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator, Sequence

    from pipeguard.config.policy_file import PolicyFile

WITHHELD = ("block", "cut")  # actions that take away what no placeholder stands for
STOPPED = (*WITHHELD, "redact")  # actions after which not all of a message goes on
NOT_REDACTED = "protocol.not-redacted"


@dataclass(frozen=True, slots=True)
class AuditedEvent:
    """A verdict, as the audit has it.

    Attributes:
        name: the event's name.
        time: when the verdict was given.
        server: the server's name.
        tool: the tool, or empty.
        method: the method, or empty.
        action: what was done.
        findings: the findings' fields by name, the most serious finding first.
    """

    name: str
    time: str
    server: str
    tool: str
    method: str
    action: str
    findings: tuple[dict[str, str], ...]


@dataclass(frozen=True, slots=True)
class Exemption:
    """An entry of `exceptions` as a person reads it: with names, not globs.

    Attributes:
        rule: the rule's id.
        server: the server's name.
        tool: the tool, or empty where it is about none.
        place: the place of the finding.
        until: the last day on which it applies, or None.
        why: the person's reason.
    """

    rule: str
    server: str
    tool: str
    place: str
    until: datetime.date | None
    why: str

    def fields(self) -> list[tuple[str, str]]:
        """Keys and values as YAML; a name that looks like a glob is escaped."""
        pairs = [
            ("rule", self.rule),
            ("server", _quoted(_as_glob(self.server))),
            ("tool", _quoted(_as_glob(self.tool)) if self.tool else ""),
            ("place", self.place),
            ("until", str(self.until or "")),
            ("why", _quoted(_one_line(self.why))),
        ]
        return [(key, value) for key, value in pairs if value]

    @property
    def where(self) -> Selector:
        """The findings that it applies to."""
        tool = _as_glob(self.tool) if self.tool else "*"
        return Selector(self.rule, self.place, _as_glob(self.server), tool)


def find_event(store: Path, name: str) -> AuditedEvent:
    """Look an event up in the audit.

    Raises:
        StateError: the store cannot be read.
        PipeGuardError: no such event is in it.
    """
    with Store.open(store) as opened:
        for row in rows(opened, AuditFilter(event=name)):
            entry = row.entry
            findings: list[dict[str, str]] = json.loads(entry.findings)
            return AuditedEvent(
                name,
                entry.time,
                row.server,
                entry.tool,
                entry.method,
                entry.action,
                tuple(findings),
            )
    raise PipeGuardError(
        f"no event {name!r} is in the audit.\n  List those that are:  pipeguard audit list"
    )


def stopping(event: AuditedEvent) -> list[dict[str, str]]:
    """The findings that kept an event from passing as it was.

    What blocked, or was cut out, needs no exception for the secrets beside it: these are replaced.
    What could not be redacted is stopped for what should have been.
    """
    of_actions = (
        [item for item in event.findings if item.get("action") in actions]
        for actions in (WITHHELD, ("redact",), ("warn",))
    )
    stopped: list[dict[str, str]] = next(filter(None, of_actions), [])
    if any(item["rule"] == NOT_REDACTED for item in stopped):
        redacted = [item for item in event.findings if item.get("action") == "redact"]
        stopped = [item for item in stopped if item["rule"] != NOT_REDACTED] + redacted
    waiting = {item.get("tool", "") for item in stopped if item["rule"].startswith("trust.")}
    others = [item for item in stopped if item.get("tool", "") not in waiting]
    return others or stopped  # a definition that waits is left out of its list alone


def narrowest(event: AuditedEvent, until: datetime.date | None, why: str) -> tuple[Exemption, ...]:
    """The exceptions that would have let an event pass, and as little else as possible.

    Raises:
        PipeGuardError: no exception could, with what to do instead.
    """
    stopped = stopping(event)
    if not stopped:
        raise PipeGuardError(f"event {event.name} passed as it was: there is nothing to allow.")
    rule = decisive(stopped)
    remedy = remedy_of(rule)
    if remedy.way is not Way.EXCEPTION:
        raise PipeGuardError(
            f"{rule} cannot be allowed by an exception.\n  {next_steps(event, rule)}"
        )
    exemptions = [
        Exemption(item["rule"], event.server, item.get("tool", ""), item["place"], until, why)
        for item in stopped
        if item.get("place")
    ]
    return tuple(dict.fromkeys(exemptions))


def decisive(stopped: Sequence[dict[str, str]]) -> str:
    """The rule that says what can be done about an event: the one that least can be done about."""
    rules = [(item["rule"], "") for item in stopped]
    return decisive_rule(rules[0][0], "", rules)


def next_steps(event: AuditedEvent, rule: str) -> str:
    """What to do about an event, with the server's name in the commands."""
    return remedy_of(rule).advice.replace("SERVER", quoted(event.server))


def entries(exemptions: Sequence[Exemption], indent: str = "") -> str:
    """Exceptions as entries of a YAML list, each on lines of its own."""
    lines = []
    for exemption in exemptions:
        mark = "- "
        for key, value in exemption.fields():
            lines.append(f"{indent}{mark}{key}: {value}\n")
            mark = "  "
    return "".join(lines)


def allow(path: str, exemptions: Sequence[Exemption], today: datetime.date) -> str | None:
    """A policy file's text with more exceptions in it; nothing is written.

    Args:
        path: the user's policy file, which need not exist.
        exemptions: the exceptions to add.
        today: the date.

    Returns:
        The new text; None where all of them are in the file already.

    Raises:
        PolicyError: the file is invalid, or its layout leaves no safe place to insert them.
    """
    text = policy_text(path, PolicyScope.USER) if Path(path).exists() else ""
    before = parse_policy(text, path, PolicyScope.USER, now=0.0, today=today)
    present = {exempt.where for exempt in before.layer.exceptions}
    added = [exemption for exemption in exemptions if exemption.where not in present]
    if not added:
        return None
    for changed in _spliced(text, added):
        try:
            after = parse_policy(changed, path, PolicyScope.USER, now=0.0, today=today)
        except PolicyError:
            continue
        if _differs_only_by(added, before, after):
            return changed
    raise PolicyError(
        f"{path} is written so that nothing can be inserted safely. Add this to its `exceptions`:\n"
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
        raise PolicyError(f"{path} cannot be written: {error.strerror}.") from None


def _differs_only_by(added: Sequence[Exemption], before: PolicyFile, after: PolicyFile) -> bool:
    """True where the new file is the old one with the added exceptions at its end."""
    old = before.layer.exceptions
    new = after.layer.exceptions[len(old) :]
    layer = before.layer._replace(exceptions=old + new)
    is_same = after == before._replace(layer=layer, notes=after.notes)
    return is_same and [exempt.where for exempt in new] == [item.where for item in added]


def _spliced(text: str, added: Sequence[Exemption]) -> Iterator[str]:
    """The text with entries inserted at the end of its list: each way that may be valid."""
    root = yaml.compose(text, yaml.SafeLoader)
    newline = "\r\n" if "\r\n" in text else "\n"
    exceptions = _exceptions(root)
    if exceptions is not None and exceptions.flow_style:
        at = exceptions.end_mark.index - 1
        for comma in (", ", "") if exceptions.value else ("",):  # the list may end with a comma
            yield text[:at] + comma + ", ".join(map(_flow, added)) + text[at:]
        return
    if exceptions is not None:
        at = _end_of_line(text, _last(exceptions))
        block = entries(added, " " * exceptions.start_mark.column)
    else:
        at = len(text)
        block = "exceptions:\n" + entries(added)
    if at and text[at - 1] != "\n":
        block = "\n" + block
    yield text[:at] + block.replace("\n", newline) + text[at:]


def _exceptions(root: yaml.Node | None) -> yaml.SequenceNode | None:
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == "exceptions" and isinstance(value, yaml.SequenceNode):
            return value
    return None


def _last(node: yaml.Node) -> yaml.Node:
    """The last scalar or flow collection in a node: a block's own end mark is the next token's."""
    while isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return node


def _end_of_line(text: str, node: yaml.Node) -> int:
    at: int = node.end_mark.index
    if at and text[at - 1] == "\n":  # a block scalar ends where the next line starts
        return at
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _flow(exemption: Exemption) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in exemption.fields()) + "}"


def _one_line(text: str) -> str:
    """A text as a policy can have it, on one line."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _as_glob(name: str) -> str:
    """A glob for one name, as a policy can have it.

    A letter that a policy cannot have is `?`. The audit cuts long names; the glob of one fits all
    that begin with it.
    """
    escaped = "".join(letter if letter.isprintable() else "?" for letter in glob.escape(name))
    if escaped.startswith(" "):
        escaped = f"[ ]{escaped[1:]}"
    if escaped.endswith(" "):
        escaped = f"{escaped[:-1]}[ ]"
    return f"{escaped}*" if len(name) >= MAX_NAME_CHARS else escaped


def _quoted(text: str) -> str:
    """A YAML double-quoted scalar, as a JSON string is one (YAML 1.2, section 1.3)."""
    return json.dumps(text, ensure_ascii=False)
