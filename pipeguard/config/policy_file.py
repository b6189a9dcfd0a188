"""The policy file: what it may say, and how the user's and the project's become one Policy.

Reads files and turns them into values; decides about no message. Where there is no file, nothing
is imported for it. docs/policy.md says what each key is for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from enum import Enum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pipeguard.config.directories import config_folder, read, read_own
from pipeguard.core.finding import Action, Confidence, Drift, Severity
from pipeguard.core.rules.policy import (
    DEFAULT_KEEP_DAYS,
    DEFAULT_NOTIFICATIONS,
    DEFAULT_PENDING,
    ActionEntry,
    Exempt,
    Layer,
    Limits,
    Mode,
    Policy,
    Selector,
    Trust,
)
from pipeguard.errors import PolicyError

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable

    from pipeguard.config.options import WrapOptions
    from pipeguard.config.strict_yaml import YamlEntry

POLICY_VARIABLE = "PIPEGUARD_POLICY"
POLICY_FILE = "policy.yaml"
PROJECT_FILE = ".pipeguard.yaml"
MAX_FILE_BYTES = 1024 * 1024
DAY_SECONDS = 86_400
_T = TypeVar("_T")

# A frame must hold an `initialize`, and is parsed into some ten times its size in memory.
FRAME_BYTES = (4 * 1024, 2**30)
PENDING = (1, 100 * DEFAULT_PENDING)
NOTIFICATIONS = (1, 100 * DEFAULT_NOTIFICATIONS)
KEEP_DAYS = (1, 36_500)
TIMEOUT_SECONDS = (1.0, float(DAY_SECONDS))

# Drift that policy may let through: it asks the model for nothing new, and what it says is
# scanned like any other definition. The others are refused, with the reason.
HARMLESS = (Drift.WORDING, Drift.NAME_ONLY, Drift.PARAMETER_REMOVED, Drift.OUTPUT_SCHEMA)
HARMFUL: Mapping[Drift, str] = {
    Drift.INSTRUCTION_ADDED: "a new order to the model is how an approved tool is turned",
    Drift.REQUIRED_PARAMETER_ADDED: "the model must fill it, with whatever it is asked for",
    Drift.ANNOTATION_FLIPPED: "clients ask the user, or do not, by what annotations say",
    Drift.SCHEMA_WIDENED: "it takes what a person approved that it does not",
    Drift.PARAMETER_ADDED: "a new parameter is a way out for data",
    Drift.PARAMETER_CHANGED: "a parameter that means something else takes other data",
    Drift.OTHER: "nobody knows what it does",
}


class PolicyScope(Enum):
    """Whose file it is, and so what it may do."""

    USER = "user"
    PROJECT = "project"  # it comes with a repository: it may only tighten


class PolicyFile(NamedTuple):
    """What one file says; None where it says nothing.

    Attributes:
        mode: as in Policy.
        trust: as in Policy.
        layer: its actions, exceptions and tools.
        frame_bytes: as in Limits.
        pending: as in Limits.
        notifications: as in Limits.
        timeout_seconds: as in Limits.
        drift_allow: as in Policy.
        stop_without_audit: as in Policy.
        audit_keep_days: as in Policy.
        notes: what a person should know of it, as an exception that has expired.
    """

    mode: Mode | None = None
    trust: Trust | None = None
    layer: Layer = Layer()
    frame_bytes: int | None = None
    pending: int | None = None
    notifications: int | None = None
    timeout_seconds: float | None = None
    drift_allow: frozenset[Drift] | None = None
    stop_without_audit: bool | None = None
    audit_keep_days: int | None = None
    notes: tuple[str, ...] = ()


def user_policy_path() -> str | None:
    """The user's policy file: that of `PIPEGUARD_POLICY`, else the usual one where it exists."""
    override = os.environ.get(POLICY_VARIABLE)
    if override:
        return override
    usual = usual_policy_path()
    return usual if os.path.exists(usual) else None  # noqa: PTH110  pathlib costs 5 ms


def usual_policy_path() -> str:
    """Where the user's policy file stands if nothing else is said; it need not exist."""
    return os.path.join(config_folder(), POLICY_FILE)  # noqa: PTH118  pathlib costs 5 ms


def project_policy_path(folder: str) -> str | None:
    """The nearest project's file in a folder and those above it, not above the home folder."""
    home = os.path.realpath(os.path.expanduser("~"))  # noqa: PTH111  pathlib costs 5 ms
    folder = os.path.realpath(folder)
    while True:
        path = os.path.join(folder, PROJECT_FILE)  # noqa: PTH118  the same
        if os.path.lexists(path):
            return path
        parent = os.path.dirname(folder)  # noqa: PTH120  the same
        if folder in (home, parent):
            return None
        folder = parent


def load_policy(
    user_file: str | None, project_file: str | None, *, now: float, today: datetime.date
) -> Policy:
    """Make one policy of the files there are.

    Args:
        user_file: the user's, or None.
        project_file: the project's, or None.
        now: as in `parse_policy`.
        today: the date, for exceptions that end.

    Raises:
        PolicyError: naming the file, and line, column and key of all that is wrong in it.
    """
    user = _file(user_file, PolicyScope.USER, now, today)
    return combine(user, _file(project_file, PolicyScope.PROJECT, now, today))


def load_wrap_policy(options: WrapOptions) -> Policy:
    """The policy for one run of `wrap`: its options stand above the user's file.

    A project's file tightens those as well: a client's configuration may come with a repository.

    Raises:
        PolicyError: an option or a file is wrong.
    """
    user_file = options.values.get("--policy") or user_policy_path()
    project_file = project_policy_path(_directory())
    trust = options.values.get("--trust")
    if trust is not None and trust not in {one.value for one in Trust}:
        raise PolicyError(f"--trust {trust}: there are {', '.join(one.value for one in Trust)}.")
    user = project = None
    if user_file or project_file:
        import datetime
        from time import monotonic

        moment = datetime.datetime.now()  # noqa: DTZ005  the user's own calendar
        today = moment.date()
        now = monotonic() - (moment.timestamp() - _beginning(today))
        user = _file(user_file, PolicyScope.USER, now, today)
        project = _file(project_file, PolicyScope.PROJECT, now, today)
    user = user or PolicyFile()
    if trust is not None:
        user = user._replace(trust=Trust(trust))
    if "--observe" in options.flags:
        user = user._replace(mode=Mode.OBSERVE)
    return combine(user, project)


def _directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109  pathlib costs 5 ms
    except FileNotFoundError:  # it was deleted: no project is there
        return os.path.expanduser("~")  # noqa: PTH111  the same


def _file(
    path: str | None, scope: PolicyScope, now: float, today: datetime.date
) -> PolicyFile | None:
    if path is None:
        return None
    return parse_policy(policy_text(path, scope), path, scope, now=now, today=today)


def policy_text(path: str, scope: PolicyScope) -> str:
    """A policy file's text.

    Raises:
        PolicyError: it cannot be read, or somebody else could have written the user's.
    """
    if scope is PolicyScope.USER:
        content = read_own(path, MAX_FILE_BYTES, PolicyError)
    else:
        content = read(path, MAX_FILE_BYTES, PolicyError)[0]
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PolicyError(f"{path} is not UTF-8: line {line}.") from None


def combine(user: PolicyFile | None, project: PolicyFile | None) -> Policy:
    """One policy of the user's file and the project's, which only tightens."""
    if user is None and project is None:
        return Policy()
    user, project = user or PolicyFile(), project or PolicyFile()
    both = (project, user)
    timeouts = [file.timeout_seconds for file in both if file.timeout_seconds is not None]
    usual = Limits()
    drift = user.drift_allow or frozenset()
    return Policy(
        mode=project.mode or user.mode or Mode.ENFORCE,
        trust=project.trust or user.trust or Trust.FIRST_USE,
        layers=(user.layer,) if project.layer == Layer() else (user.layer, project.layer),
        limits=Limits(
            _least(user.frame_bytes, project.frame_bytes, usual.frame_bytes),
            _least(user.pending, project.pending, usual.pending),
            _least(user.notifications, project.notifications, usual.notifications),
            min(timeouts, default=None),
        ),
        drift_allow=drift if project.drift_allow is None else drift & project.drift_allow,
        stop_without_audit=bool(project.stop_without_audit or user.stop_without_audit),
        audit_keep_days=(
            DEFAULT_KEEP_DAYS if user.audit_keep_days is None else user.audit_keep_days
        ),
    )


def _least(user: int | None, project: int | None, usual: int) -> int:
    """What the user says, or else what is usual; a project may ask for less."""
    given = usual if user is None else user
    return given if project is None else min(given, project)


def parse_policy(
    text: str, source: str, scope: PolicyScope, *, now: float, today: datetime.date
) -> PolicyFile:
    """Read one file.

    Args:
        text: the YAML document.
        source: its name, for errors.
        scope: whose it is.
        now: seconds on the clock that sessions use, at the beginning of the day.
        today: the date. An exception holds to the end of the day of its `until`.

    Raises:
        PolicyError: naming line, column and key of all that is wrong.
    """
    from pipeguard.config.strict_yaml import Document

    document = Document(text, source)
    reader = _Reader(scope, now, today)
    file = reader.file(document.root) if document.root is not None else PolicyFile()
    document.finish()
    return file


_TOP = ("mode", "trust", "drift", "actions", "tools", "exceptions", "limits", "audit")
_LIMITS = ("frame", "pending", "notifications", "timeout")
_ACTION = ("rule", "pack", "place", "server", "tool", "severity", "confidence", "action")
_EXCEPTION = ("rule", "server", "tool", "place", "until", "why")
_ACTIONS: Mapping[str, Action] = {action.name.lower(): action for action in Action}
_SEVERITIES: Mapping[str, Severity] = {level.name.lower(): level for level in Severity}
_CONFIDENCES: Mapping[str, Confidence] = {level.name.lower(): level for level in Confidence}
_RULE_GLOB = re.compile(r"[a-z0-9.*?\[\]!-]+")
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([A-Za-z]*)")
_SIZES: Mapping[str, int] = {
    "": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9,
}  # fmt: skip
_DAYS: Mapping[str, int] = {"d": 1, "w": 7}
_TIMES: Mapping[str, int] = {"s": 1, "min": 60, "h": 3600}


class _Reader:
    """What the keys of a policy mean; what is wrong is noted at the entry, and left out."""

    def __init__(self, scope: PolicyScope, now: float, today: datetime.date) -> None:
        self.scope = scope
        self.now = now
        self.today = today
        self.notes: list[str] = []

    def file(self, root: YamlEntry) -> PolicyFile:
        keys = root.fields(_TOP)
        tools = keys["tools"].fields(("allow", "block")) if "tools" in keys else {}
        limits = keys["limits"].fields(_LIMITS) if "limits" in keys else {}
        drift = keys["drift"].fields(("allow",)) if "drift" in keys else {}
        audit = keys["audit"].fields(("on_failure", "keep")) if "audit" in keys else {}
        layer = Layer(
            actions=_each(keys.get("actions"), self._action),
            exceptions=self._exceptions(keys.get("exceptions")),
            tools_allow=self._tools(tools.get("allow")),
            tools_block=self._tools(tools.get("block")),
            defaults=self.scope is PolicyScope.USER,
        )
        return PolicyFile(
            mode=self._word(
                keys.get("mode"), {mode.value: mode for mode in Mode}, loose=Mode.OBSERVE
            ),
            trust=self._word(
                keys.get("trust"), {trust.value: trust for trust in Trust}, loose=Trust.FIRST_USE
            ),
            layer=layer,
            frame_bytes=_size(limits.get("frame")),
            pending=_count(limits.get("pending"), PENDING),
            notifications=_count(limits.get("notifications"), NOTIFICATIONS),
            timeout_seconds=_seconds(limits.get("timeout")),
            drift_allow=frozenset(_each(drift["allow"], _drift)) if "allow" in drift else None,
            stop_without_audit=self._word(
                audit.get("on_failure"), {"continue": False, "stop": True}, loose=False
            ),
            audit_keep_days=self._keep(audit.get("keep")),
            notes=tuple(self.notes),
        )

    def _word(self, entry: YamlEntry | None, words: Mapping[str, _T], *, loose: _T) -> _T | None:
        if entry is None:
            return None
        choice = entry.choice(words)
        if choice == loose and choice is not None and self.scope is PolicyScope.PROJECT:
            word = next(name for name, value in words.items() if value == loose)
            entry.wrong(f"a project's file may only tighten, and `{word}` loosens. Remove it.")
        return choice

    def _action(self, entry: YamlEntry) -> ActionEntry | None:
        keys = entry.fields(_ACTION, required=("action",))
        if "action" not in keys:
            return None
        action = keys["action"].choice(_ACTIONS)
        if action is Action.ALLOW and self.scope is PolicyScope.PROJECT:
            keys["action"].wrong(
                "a project's file may only tighten. To spare something from an entry below this"
                " one, write `warn`."
            )
        if "rule" in keys and "pack" in keys:
            keys["pack"].wrong("name a rule or a pack, not both")
        rule = _rule(keys.get("rule"))
        if "pack" in keys:
            rule = f"{_rule(keys['pack'])}.*"
        where = Selector(
            rule=rule,
            place=_place(keys.get("place")),
            server=_glob(keys.get("server")),
            tool=_glob(keys.get("tool")),
            severity=keys["severity"].choice(_SEVERITIES) if "severity" in keys else None,
            confidence=keys["confidence"].choice(_CONFIDENCES) if "confidence" in keys else None,
        )
        return None if action is None else ActionEntry(where, action)

    def _exceptions(self, entry: YamlEntry | None) -> tuple[Exempt, ...]:
        if entry is not None and self.scope is PolicyScope.PROJECT:
            entry.wrong(
                "a project's file may only tighten, so it has no exceptions. Those stand in your"
                " own policy file; `pipeguard allow EVENT` writes them."
            )
            return ()
        return _each(entry, self._exception)

    def _exception(self, entry: YamlEntry) -> Exempt | None:
        keys = entry.fields(_EXCEPTION, required=("rule", "why"))
        where = Selector(
            rule=_rule(keys.get("rule")),
            place=_place(keys.get("place")),
            server=_glob(keys.get("server")),
            tool=_glob(keys.get("tool")),
        )
        if "rule" in keys and not where.rule.strip(".*?"):
            keys["rule"].wrong("an exception is for one rule or a few, not for all of them")
        if {where.place, where.server, where.tool} == {"*"}:
            entry.wrong("an exception names a server, a tool or a place, so that it stays narrow")
        why = keys["why"].text() if "why" in keys else None
        until = self._until(keys["until"], where) if "until" in keys else None
        if until is not None and until <= self.now:
            return None
        return Exempt(where, why or "", until)

    def _until(self, entry: YamlEntry, where: Selector) -> float:
        import datetime

        text = entry.text() or ""
        try:
            last = datetime.date.fromisoformat(text)
        except ValueError:
            if text:
                entry.wrong("expected a day as 2027-01-31: the last one on which it holds")
            return self.now
        if last < self.today:
            self.notes.append(
                f"line {entry.line}: the exception for {where.rule} ended on {last}; it is not"
                " heeded and can be removed"
            )
            return self.now
        last = min(last, datetime.date(9000, 1, 1))  # the last ones that are dates have no morrow
        return self.now + _beginning(last + datetime.timedelta(days=1)) - _beginning(self.today)

    def _keep(self, entry: YamlEntry | None) -> int | None:
        if entry is not None and self.scope is PolicyScope.PROJECT:
            entry.wrong(
                "a project's file may only tighten, and the audit is that of all your projects."
                " Say it in your own policy file."
            )
            return None
        if entry is not None and entry.text() == "forever":
            return 0
        number = _measured(entry, _DAYS, "a time as 90 d or 12 w, or forever")
        return None if entry is None or number is None else int(_within(entry, number, KEEP_DAYS))

    def _tools(self, entry: YamlEntry | None) -> tuple[str, ...]:
        globs = _each(entry, _glob)
        if entry is not None and entry.key == "tools.allow" and not globs:
            entry.wrong("an empty list would allow all tools. To block all: `block: ['*']`.")
        return globs


def _beginning(day: datetime.date) -> float:
    """When a day begins where the user is: not every one has 24 hours."""
    import datetime

    return datetime.datetime.combine(day, datetime.time()).timestamp()


def _each(entry: YamlEntry | None, take: Callable[[YamlEntry], _T | None]) -> tuple[_T, ...]:
    """What is made of the entries of a list, without those that are wrong."""
    if entry is None:
        return ()
    taken = [take(item) for item in entry.items()]
    return tuple(item for item in taken if item is not None)


def _glob(entry: YamlEntry | None) -> str:
    """A glob, `*` where there is none; one that can fit nothing is wrong."""
    if entry is None:
        return "*"
    text = entry.text()
    if text is None:
        return "*"
    if text != text.strip():
        entry.wrong("a glob has no space at its ends")
    if re.search(r"\[(?!!?\]?[^\]]*\])", text):
        entry.wrong("`[` opens a set of characters and never closes. Itself it is `[[]`.")
    return text


def _rule(entry: YamlEntry | None) -> str:
    text = _glob(entry)
    if entry is not None and not _RULE_GLOB.fullmatch(text):
        entry.wrong(
            "a rule is a pack, a dot and a name, as `secrets.github-token`; globs may stand in it"
        )
    return text


def _place(entry: YamlEntry | None) -> str:
    text = _glob(entry)
    if entry is None:
        return text
    from pipeguard.core.protocol.places import known_places

    if any(fnmatchcase(place, text) for place in known_places()):
        return text
    from pipeguard.config.strict_yaml import suggestion

    entry.wrong(f"no place fits `{text[:60]}`.{suggestion(text, known_places())}")
    return text


def _drift(entry: YamlEntry) -> Drift | None:
    drift = entry.choice({drift.value: drift for drift in Drift})
    if drift is not None and drift in HARMFUL:
        harmless = ", ".join(item.value for item in HARMLESS)
        entry.wrong(f"`{drift.value}` is never let through: {HARMFUL[drift]}. May be: {harmless}.")
    return drift


def _size(entry: YamlEntry | None) -> int | None:
    number = _measured(entry, _SIZES, "a size as 16 MiB, 512 KiB, or a number of bytes")
    return None if entry is None or number is None else int(_within(entry, number, FRAME_BYTES))


def _count(entry: YamlEntry | None, bounds: tuple[int, int]) -> int | None:
    number = _measured(entry, {"": 1}, "a whole number, as 10000")
    return None if entry is None or number is None else int(_within(entry, number, bounds))


def _seconds(entry: YamlEntry | None) -> float | None:
    number = _measured(entry, _TIMES, "a time as 300 s, 5 min or 1 h")
    return None if entry is None or number is None else _within(entry, number, TIMEOUT_SECONDS)


def _measured(entry: YamlEntry | None, units: Mapping[str, int], wanted: str) -> float | None:
    text = entry.text() if entry is not None else None
    if entry is None or text is None:
        return None
    found = _SIZE.fullmatch(text)
    number = float(found[1]) * units.get(found[2], 0) if found else 0
    if not number or (units is not _TIMES and number != int(number)):
        entry.wrong(f"expected {wanted}")
        return None
    return number


def _within(entry: YamlEntry, number: float, bounds: tuple[float, float]) -> float:
    if not bounds[0] <= number <= bounds[1]:
        entry.wrong(f"expected at least {bounds[0]} and at most {bounds[1]}")
    return number
