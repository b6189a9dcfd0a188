"""One policy file: its keys, read strictly into values.

Decides on no message, and knows only one file. docs/policy.md explains each key.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from pipeguard.config.directories import Trusted, read, read_own
from pipeguard.config.isolate_key import IsolateEntries, egress_proxy, isolate_entries
from pipeguard.config.policy_values import (
    SIZES,
    in_largest_unit,
    parse_choice,
    parse_content,
    parse_each,
    parse_glob,
    parse_globs,
    parse_host,
    parse_launch,
    parse_path,
    parse_place,
    parse_rule,
    read_count,
    read_keys,
    read_seconds,
    read_size,
)
from pipeguard.errors import PolicyError
from pipeguard.firewall.finding import Action, Confidence, Drift, Severity
from pipeguard.firewall.policy import (
    DEFAULT_NOTIFICATIONS,
    DEFAULT_PENDING,
    ActionEntry,
    Exempt,
    InClient,
    Layer,
    Mode,
    Selector,
    Trust,
)
from pipeguard.records import NamedTuple

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable

    from pipeguard.config.strict_yaml import YamlEntry

MAX_FILE_BYTES = 1024 * 1024
DAY_SECONDS = 86_400
_T = TypeVar("_T")
_E = TypeVar("_E", bound=Enum)

# A frame must have room for an `initialize`; parsed, it takes about ten times its size in memory.
FRAME_BYTES = (4 * 1024, 2**30)
PENDING = (1, 100 * DEFAULT_PENDING)
NOTIFICATIONS = (1, 100 * DEFAULT_NOTIFICATIONS)
KEEP_DAYS = (1, 36_500)
RECORD_BYTES = (64 * 1024, 2**39)  # of one record and of all

# Drift that a policy may let through: it asks nothing new of the model, and the new text is scanned
# like any other definition. The others are refused, with the reason.
HARMLESS = (Drift.WORDING, Drift.NAME_ONLY, Drift.PARAMETER_REMOVED, Drift.OUTPUT_SCHEMA)
HARMFUL = {
    Drift.INSTRUCTION_ADDED: "an attack on an approved tool gives the model a new order",
    Drift.REQUIRED_PARAMETER_ADDED: "the model must fill it with whatever it asks for",
    Drift.ANNOTATION_FLIPPED: "annotations decide whether clients ask the user",
    Drift.SCHEMA_WIDENED: "it accepts values that it did not accept when a person approved it",
    Drift.PARAMETER_ADDED: "a new parameter can carry data away",
    Drift.PARAMETER_CHANGED: "a parameter with a new meaning takes other data",
    Drift.OTHER: "its effect is unknown",
}


class PolicyScope(Enum):
    """The owner of the file, who decides which settings it may have."""

    USER = "user"
    PROJECT = "project"  # it comes with a repository, so it may only tighten, as the next two
    MACHINE = "machine"  # an administrator wrote it
    ORGANISATION = "organisation"  # it is in the signed bundle that this machine follows

    @property
    def origin(self) -> str:
        """The owner of the file, in words."""
        return "the policy" if self is PolicyScope.USER else f"the {self.value}'s policy"


ADMINISTERED = frozenset({PolicyScope.MACHINE, PolicyScope.ORGANISATION})
UNADMINISTERED = frozenset(PolicyScope) - ADMINISTERED


class RecordSettings(NamedTuple):
    """The folder of recorded sessions, and how much of them is kept.

    Attributes:
        path: of the folder.
        file_bytes: of one record.
        total_bytes: of all; the oldest are removed when a server starts.
        keep_days: after which a record is removed; 0 for ever.
    """

    path: str
    file_bytes: int = 2**26
    total_bytes: int = 2**30
    keep_days: int = 30


class PolicyFile(NamedTuple):
    """The settings of one file; None for a missing key.

    Attributes:
        mode: as in Policy.
        trust: as in Policy.
        layer: its actions, exceptions and tools.
        limits: by their names in Limits.
        drift_allow: as in Policy.
        stop_without_audit: as in Policy.
        audit_keep_days: as in Policy.
        ask_in_client: as in Policy.
        follows_client: as in Policy.
        isolate: the isolated servers, and the grants of each.
        egress_proxy: the proxy of the user's network: a URL, a reference to one, or `none`.
        record: of sessions.
        approved: as in Policy.
        has_ended: True at a time, in seconds since 1970, at which no server may run any more.
        notes: for a person, as an exception that has expired.
    """

    mode: Mode | None = None
    trust: Trust | None = None
    layer: Layer = Layer()
    limits: Mapping[str, float] = {}
    drift_allow: frozenset[Drift] | None = None
    stop_without_audit: bool | None = None
    audit_keep_days: int | None = None
    ask_in_client: InClient | None = None
    follows_client: bool | None = None
    isolate: IsolateEntries = ()
    egress_proxy: str | None = None
    record: RecordSettings | None = None
    approved: frozenset[str] = frozenset()
    has_ended: Callable[[float], bool] = lambda _: False
    notes: tuple[str, ...] = ()


class WrittenException(NamedTuple):
    """An entry of `exceptions` as the file has it, even an expired one.

    Attributes:
        position: in the list, from 0.
        line: of the file, from 1.
        exempt: the exception itself.
        until: the last day on which it applies; empty for no end.
        has_ended: True if that day is over.
    """

    position: int
    line: int
    exempt: Exempt
    until: str
    has_ended: bool


def policy_text(path: str, scope: PolicyScope) -> str:
    """Read a policy file's text.

    Raises:
        PolicyError: it cannot be read, or somebody could have written it whose file it is not.
    """
    if scope is PolicyScope.PROJECT:
        content = read(path, MAX_FILE_BYTES, PolicyError)[0]
    else:
        owner = Trusted.OWN_GROUP if scope is PolicyScope.USER else Trusted.ADMINISTRATOR
        content = read_own(path, MAX_FILE_BYTES, PolicyError, trusted=owner)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PolicyError(f"{path} is not UTF-8: line {line}.") from None


def parse_policy(
    text: str,
    source: str,
    scope: PolicyScope,
    *,
    now: float = 0.0,
    today: datetime.date,
    check: Callable[[YamlEntry], None] | None = None,
) -> PolicyFile:
    """Read the keys of one file.

    Args:
        text: the YAML document.
        source: its name, for errors.
        scope: whose file it is.
        now: seconds on the clock that sessions use, at the beginning of the day; 0 if no message
            is judged by it.
        today: the date. An exception applies to the end of the day of its `until`.
        check: reports further errors in the file, whose form need not be right.

    Raises:
        PolicyError: the file is invalid; the message has line, column and key of each error.
    """
    if check is None:
        parsed = _parse_usual(text, source, scope, now, today)
        if isinstance(parsed, str):
            raise PolicyError(parsed)
        return parsed
    from pipeguard.config.strict_yaml import Document

    document = Document(text, source)
    reader = _PolicyReader(scope, now, today)
    file = reader.file(document.root) if document.root else PolicyFile()
    if document.root and document.root.is_mapping:
        check(document.root)
    document.finish()
    return file


@lru_cache(maxsize=4)  # the page asks for each thing that waits
def _parse_usual(
    text: str, source: str, scope: PolicyScope, now: float, today: datetime.date
) -> PolicyFile | str:
    """Read a file as `parse_policy` does, or say why it is invalid."""
    try:
        return parse_policy(text, source, scope, now=now, today=today, check=lambda _: None)
    except PolicyError as error:
        return str(error)


def written_exceptions(
    text: str, source: str, today: datetime.date
) -> tuple[WrittenException, ...]:
    """The exceptions of the user's file, in its order.

    Args:
        text: the YAML document.
        source: its name, for errors.
        today: the date.

    Raises:
        PolicyError: it is not a YAML document.
    """
    from pipeguard.config.strict_yaml import Document

    root = Document(text, source).root
    if root is None or not root.is_mapping:
        return ()
    reader = _PolicyReader(PolicyScope.USER, 0.0, today)
    written = list[WrittenException]()
    entry = root.known_fields(("exceptions",)).get("exceptions")
    for position, item in enumerate(entry.items() if entry else ()):
        until = item.known_fields(("until",)).get("until")
        exempt = reader.exception(item)
        day = (until.text() if until else None) or ""
        has_ended = exempt.until is not None and exempt.until <= reader.now
        written.append(WrittenException(position, item.line, exempt, day, has_ended))
    return tuple(written)


POLICY_KEYS = (
    *("mode", "trust", "drift", "actions", "tools", "servers", "exceptions", "limits", "audit"),
    *("isolate", "egress", "ask_in_client", "flows", "record"),
)
_ELSEWHERE = dict.fromkeys(
    ("mcpServers", "management"), "pipeguard.yaml, the file of `pipeguard serve`"
) | dict.fromkeys(("rules", "parts", "pack"), "a rule pack, `rules/NAME.yaml` beside the policy")
# Keys that only the user's own file may have, `keep` of the audit too, each with the reason.
_OWN = {
    "exceptions": "so it has no exceptions. They belong in your own policy file; `pipeguard allow"
    " EVENT` writes them.",
    "isolate": "and `isolate` grants files and hosts. It belongs in your own policy file.",
    "egress": "and a proxy sees where servers connect. It belongs in your own policy file.",
    "record": "and a record takes down whole sessions. It belongs in your own policy file.",
    "keep": "and all your projects share one audit. Set it in your own policy file.",
}
_LIMITS = ("frame", "pending", "notifications", "timeout", "ask")
_ACTION = ("rule", "pack", "place", "server", "tool", "severity", "confidence", "action")
_EXCEPTION = ("rule", "server", "tool", "place", "content", "path", "host", "until", "why")
_SEVERITIES = {level.name.lower(): level for level in Severity}
_CONFIDENCES = {level.name.lower(): level for level in Confidence}
_DAYS = {"d": 1, "w": 7}
_PARTS_OF_SELECTOR = {
    "rule": parse_rule,
    "place": parse_place,
    "server": parse_glob,
    "tool": parse_glob,
    "severity": lambda entry: entry.choice(_SEVERITIES),
    "confidence": lambda entry: entry.choice(_CONFIDENCES),
    "content": parse_content,
    "path": parse_path,
    "host": parse_host,
}


class _PolicyReader:
    """Turns the keys of a policy into values; a wrong value is noted at its entry and left out."""

    def __init__(self, scope: PolicyScope, now: float, today: datetime.date) -> None:
        self.scope = scope
        self._mode = Mode.ENFORCE if scope in ADMINISTERED else None  # whatever a user observes
        self.only_tightens = scope is not PolicyScope.USER
        self.now = now
        self.today = today
        self.notes: list[str] = []

    def file(self, root: YamlEntry) -> PolicyFile:
        keys = root.fields(POLICY_KEYS, elsewhere=_ELSEWHERE)
        tools = keys["tools"].fields(("allow", "block", "ask")) if "tools" in keys else {}
        servers = keys["servers"].fields(("allow", "block")) if "servers" in keys else {}
        limits = keys["limits"].fields(_LIMITS) if "limits" in keys else {}
        drift = keys["drift"].fields(("allow",)) if "drift" in keys else {}
        audit = keys["audit"].fields(("on_failure", "keep")) if "audit" in keys else {}
        layer = Layer(
            actions=parse_each(keys.get("actions"), self._action),
            exceptions=self._exceptions(keys.get("exceptions")),
            tools_allow=parse_globs(tools.get("allow"), parse_glob),
            tools_block=parse_globs(tools.get("block"), parse_glob),
            tools_ask=parse_globs(tools.get("ask"), parse_glob),
            defaults=not self.only_tightens,
            origin=self.scope.origin,
            servers_allow=parse_globs(servers.get("allow"), parse_launch),
            servers_block=parse_globs(servers.get("block"), parse_launch),
        )
        read = {
            "frame_bytes": read_size(limits.get("frame"), FRAME_BYTES),
            "pending": read_count(limits.get("pending"), PENDING),
            "notifications": read_count(limits.get("notifications"), NOTIFICATIONS),
            "timeout_seconds": read_seconds(limits.get("timeout")),
            "ask_seconds": read_seconds(limits.get("ask")),
        }
        return PolicyFile(
            mode=self._choice(keys.get("mode"), _words(Mode), loose=Mode.OBSERVE) or self._mode,
            trust=self._choice(keys.get("trust"), _words(Trust), loose=Trust.FIRST_USE),
            layer=layer,
            limits={name: value for name, value in read.items() if value is not None},
            drift_allow=frozenset(parse_each(drift["allow"], _drift)) if "allow" in drift else None,
            stop_without_audit=self._choice(
                audit.get("on_failure"), {"continue": False, "stop": True}, loose=False
            ),
            audit_keep_days=self._keep_days(audit.get("keep")),
            ask_in_client=self._choice(
                keys.get("ask_in_client"), _words(InClient), loose=InClient.FORM
            ),
            follows_client=self._choice(
                keys.get("flows"), {"client": True, "server": False}, loose=False
            ),
            isolate=isolate_entries(self._own(keys.get("isolate"))),
            egress_proxy=egress_proxy(self._own(keys.get("egress"))),
            record=self._record(self._own(keys.get("record"))),
            notes=tuple(self.notes),
        )

    @property
    def _refusal(self) -> str:
        whose = "a" if self.scope is PolicyScope.PROJECT else "the"
        return f"{whose} {self.scope.value}'s file may only tighten"

    def _own(self, entry: YamlEntry | None) -> YamlEntry | None:
        """An entry that only the user's own file may have; None, and wrong, in another."""
        if entry is None or not self.only_tightens:
            return entry
        entry.wrong(f"{self._refusal}, {_OWN[entry.key.rpartition('.')[2]]}")
        return None

    def _choice(self, entry: YamlEntry | None, words: Mapping[str, _T], *, loose: _T) -> _T | None:
        """One of several words; `loose` is refused in a file that may only tighten."""
        choice = parse_choice(entry, words)
        if entry and choice == loose and self.only_tightens:
            word = next(name for name, value in words.items() if value == loose)
            entry.wrong(f"{self._refusal}, and `{word}` loosens. Remove it.")
        return choice

    def _action(self, entry: YamlEntry) -> ActionEntry | None:
        keys = entry.fields(_ACTION, required=("action",))
        if "action" not in keys:
            return None
        action = keys["action"].choice({each.name.lower(): each for each in Action})
        if action is Action.ALLOW and self.only_tightens:
            keys["action"].wrong(
                f"{self._refusal}. To exclude something from an entry below this one, write `warn`."
            )
        if "rule" in keys and "pack" in keys:
            keys["pack"].wrong("name a rule or a pack, not both")
        where = Selector(**read_keys(keys, _PARTS_OF_SELECTOR))
        if "pack" in keys:
            where = where._replace(rule=f"{parse_rule(keys['pack'])}.*")
        return None if action is None else ActionEntry(where, action)

    def _exceptions(self, entry: YamlEntry | None) -> tuple[Exempt, ...]:
        read = parse_each(self._own(entry), self.exception)
        return tuple(each for each in read if each.until is None or each.until > self.now)

    def exception(self, entry: YamlEntry) -> Exempt:
        keys = entry.fields(_EXCEPTION, required=("rule", "why"))
        where = Selector(**read_keys(keys, _PARTS_OF_SELECTOR))
        if "rule" in keys and not where.rule.strip(".*?"):
            keys["rule"].wrong("an exception is for one rule or a few, not for all rules")
        if {where.place, where.server, where.tool} == {"*"} and not where.content:
            entry.wrong(
                "an exception names a server, a tool, a place or a content, so that it stays narrow"
            )
        why = keys["why"].text() if "why" in keys else None
        until = self._until(keys["until"], where) if "until" in keys else None
        return Exempt(where, why or "", until)

    def _until(self, entry: YamlEntry, where: Selector) -> float:
        import datetime

        text = entry.text() or ""
        try:
            last = datetime.date.fromisoformat(text)
        except ValueError:
            if text:
                entry.wrong("expected a day such as 2027-01-31: the last one on which it applies")
            return self.now
        if last < self.today:
            self.notes.append(
                f"line {entry.line}: the exception for {where.rule} ended on {last}; it has no"
                " effect and can be removed"
            )
            return self.now
        last = min(last, datetime.date(9000, 1, 1))  # the very last date has no day after it
        return (
            self.now
            + find_beginning(last + datetime.timedelta(days=1))
            - find_beginning(self.today)
        )

    def _record(self, entry: YamlEntry | None) -> RecordSettings | None:
        """Read the key `record`; its folder is relative to the file's."""
        known = ("folder", "file", "total", "keep")
        keys = {} if entry is None else entry.fields(known, required=("folder",))
        if "folder" not in keys:
            return None
        folder = keys["folder"]
        beside = os.path.dirname(folder.document.source)
        read: dict[str, Any] = {
            "path": os.path.join(beside, os.path.expanduser(folder.text() or "")),
            "file_bytes": read_size(keys.get("file"), RECORD_BYTES),
            "total_bytes": read_size(keys.get("total"), RECORD_BYTES),
            "keep_days": self._keep_days(keys.get("keep")),
        }
        return RecordSettings(**{name: value for name, value in read.items() if value is not None})

    def _keep_days(self, entry: YamlEntry | None) -> int | None:
        entry = self._own(entry)
        if entry and entry.text() == "forever":
            return 0
        return read_count(entry, KEEP_DAYS, _DAYS, "a time such as 90 d or 12 w, or forever")


def _words(kind: type[_E]) -> dict[str, _E]:
    """The members of an enum by the words that a policy has for them."""
    return {member.value: member for member in kind}


def find_beginning(day: datetime.date) -> float:
    """The beginning of a day in the user's time zone, in which some days do not have 24 hours."""
    import datetime

    return datetime.datetime.combine(day, datetime.time()).timestamp()


def _drift(entry: YamlEntry) -> Drift | None:
    text = entry.text()
    words = {drift.value: drift for drift in Drift if drift in HARMLESS or drift.value == text}
    drift = entry.choice(words)
    if drift in HARMFUL:
        harmless = ", ".join(item.value for item in HARMLESS)
        why = HARMFUL[drift]
        entry.wrong(f"`{drift.value}` never passes: {why}. Allowed are: {harmless}.")
    return drift


def show_size(count_bytes: int) -> str:
    """Write a size as a policy can have it."""
    return in_largest_unit(count_bytes, SIZES)
