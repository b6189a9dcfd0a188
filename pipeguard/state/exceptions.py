"""A false alarm: the event that it was, the narrowest exception for it, and that in the policy.

Reads the audit and writes the user's policy file, whose comments and order it keeps: it puts a
few lines in, reads the whole again, and only then replaces the file.
"""

from __future__ import annotations

import glob
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from pipeguard.config.policy_file import PolicyScope, parse_policy, policy_text
from pipeguard.core.rules.policy import Selector
from pipeguard.core.unicode.display import quoted
from pipeguard.errors import PipeGuardError, PolicyError
from pipeguard.state.audit import Wanted, rows
from pipeguard.state.store import Store

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator, Sequence

    from pipeguard.config.policy_file import PolicyFile

# What policy does not decide, and what a person does instead.
_ELSEWHERE = {
    "trust.": "It waits for your approval. Look at it, then accept it:\n"
    "    pipeguard diff {server}\n    pipeguard approve {server}",
    "policy.": "Your policy keeps this tool from being called: `tools` in the policy file.",
    "protocol.": "It breaks the protocol, so two programs could read it differently; no exception"
    " lets that pass.",
    "entrance.": "It was not let in, so no message was judged: the options of `wrap --listen` say"
    " who may come. See `pipeguard wrap --help`.",
}
# Those of them that are judged by policy.
_BY_POLICY = frozenset({"protocol.view-limit", "protocol.read-limit", "protocol.scan-limit"})


@dataclass(frozen=True, slots=True)
class AuditedEvent:
    """What the audit has of a verdict.

    Attributes:
        name: of the event.
        time: when it was given.
        server: the server's name.
        tool: the tool, or empty.
        method: the method, or empty.
        action: what was done.
        findings: what was seen, the most serious first: fields by name.
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
    """An entry of `exceptions`, as a person reads it: names, not globs.

    Attributes:
        rule: the rule's id.
        server: the server's name.
        tool: the tool, or empty where none is concerned.
        place: where it was seen.
        until: the last day on which it holds, or None.
        why: the person's reason.
    """

    rule: str
    server: str
    tool: str
    place: str
    until: datetime.date | None
    why: str

    def fields(self) -> list[tuple[str, str]]:
        """Keys and values as YAML; a name that looks like a glob stands for itself alone."""
        pairs = [
            ("rule", self.rule),
            ("server", _quoted(glob.escape(self.server))),
            ("tool", _quoted(glob.escape(self.tool)) if self.tool else ""),
            ("place", self.place),
            ("until", str(self.until or "")),
            ("why", _quoted(self.why)),
        ]
        return [(key, value) for key, value in pairs if value]

    @property
    def where(self) -> Selector:
        """What it fits."""
        tool = glob.escape(self.tool) if self.tool else "*"
        return Selector(self.rule, self.place, glob.escape(self.server), tool)


def find_event(store: Path, name: str) -> AuditedEvent:
    """Look an event up in the audit.

    Raises:
        StateError: the store cannot be read.
        PipeGuardError: no such event is in it.
    """
    with Store.open(store) as opened:
        for row in rows(opened, Wanted(event=name)):
            entry = row.entry
            found: list[dict[str, str]] = json.loads(entry.findings)
            return AuditedEvent(
                name, entry.time, row.server, entry.tool, entry.method, entry.action, tuple(found)
            )
    raise PipeGuardError(
        f"no event {name!r} is in the audit.\n  List those that are:  pipeguard audit list"
    )


def narrowest(event: AuditedEvent, until: datetime.date | None, why: str) -> tuple[Exemption, ...]:
    """The exceptions that would have let an event pass, and as little else as can be.

    Raises:
        PipeGuardError: no exception could; with what to do instead.
    """
    stopped = [one for one in event.findings if one.get("action") in ("block", "redact")]
    stopped = stopped or [one for one in event.findings if one.get("action") == "warn"]
    if not stopped:
        raise PipeGuardError(f"event {event.name} passed as it was: there is nothing to allow.")
    for finding in stopped:
        rule = finding["rule"]
        for family, instead in _ELSEWHERE.items():
            if rule.startswith(family) and rule not in _BY_POLICY:
                told = instead.format(server=quoted(event.server))
                raise PipeGuardError(f"{rule} cannot be allowed by an exception.\n  {told}")
    found = {
        Exemption(one["rule"], event.server, one.get("tool", ""), one["place"], until, why): None
        for one in stopped
        if one.get("place")
    }
    return tuple(found)


def entries(exemptions: Sequence[Exemption], indent: str = "") -> str:
    """Exceptions as entries of a YAML list, one under the other."""
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
        path: of the user's policy file, which need not exist.
        exemptions: what to add.
        today: the date.

    Returns:
        The new text; None where all of it is allowed already.

    Raises:
        PolicyError: the file is wrong, or is written so that nothing can be put in safely.
    """
    text = policy_text(path, PolicyScope.USER) if Path(path).exists() else ""
    before = parse_policy(text, path, PolicyScope.USER, now=0.0, today=today)
    held = {one.where for one in before.layer.exceptions}
    added = [one for one in exemptions if one.where not in held]
    if not added:
        return None
    for changed in _spliced(text, added):
        if _holds(changed, path, before, added, today):
            return changed
    raise PolicyError(
        f"{path} is written so that nothing can be put in safely. Add this to its `exceptions`:\n"
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
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
        descriptor, draft = tempfile.mkstemp(prefix=".policy-", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            Path(draft).chmod(mode)
            Path(draft).replace(target)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise PolicyError(f"{path} cannot be written: {error.strerror}.") from None


def _holds(
    text: str, path: str, before: PolicyFile, added: Sequence[Exemption], today: datetime.date
) -> bool:
    """True where the new text says what the old one did, and what was added, and no more."""
    try:
        after = parse_policy(text, path, PolicyScope.USER, now=0.0, today=today)
    except PolicyError:
        return False
    kept = before.layer.exceptions
    new = after.layer.exceptions[len(kept) :]
    layer = before.layer._replace(exceptions=kept + new)
    same = after == before._replace(layer=layer, notes=after.notes)
    return same and [one.where for one in new] == [one.where for one in added]


def _spliced(text: str, added: Sequence[Exemption]) -> Iterator[str]:
    """The text with entries at the end of its list, in the ways that it might be written."""
    root = yaml.compose(text, yaml.SafeLoader)
    newline = "\r\n" if "\r\n" in text else "\n"
    listed = _exceptions(root)
    if listed is not None and listed.flow_style:
        at = listed.end_mark.index - 1
        for comma in (", ", "") if listed.value else ("",):  # there may be one at the end
            yield text[:at] + comma + ", ".join(_flow(one) for one in added) + text[at:]
        return
    if listed is not None:
        at = _end_of_line(text, _last(listed))
        block = entries(added, " " * listed.start_mark.column)
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
    """The last word in a node: where a block ends is only known at the next one's start."""
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


def _quoted(text: str) -> str:
    """A YAML double-quoted scalar; JSON's strings are such (YAML 1.2, 1.3)."""
    quoted = json.dumps(text, ensure_ascii=False)
    for line_end in "\x85\u2028\u2029":  # data in JSON, and folded to a space in YAML
        quoted = quoted.replace(line_end, f"\\u{ord(line_end):04x}")
    return quoted
