"""The policy files that apply, read strictly: what is wrong in them, and what they come to."""

from __future__ import annotations

import datetime
from fnmatch import fnmatchcase
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.config.effective_policy import combine, project_policy_path
from pipeguard.config.policy_file import PolicyFile, PolicyScope, parse_policy, policy_text
from pipeguard.config.user_policy import user_policy_path
from pipeguard.errors import PolicyError
from pipeguard.firewall.session.remedies import Way, find_remedy
from pipeguard.rulebook.packs import load_rules
from pipeguard.rulebook.rule_texts import FAMILIES
from pipeguard.unicode.display import suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pipeguard.config.strict_yaml import YamlEntry
    from pipeguard.firewall.policy import Policy


_FIELDS = {  # of a file, by the names of `describe_policy`
    "mode": "mode",
    "trust": "trust",
    "drift allowed": "drift_allow",
    "frame limit": "frame_bytes",
    "pending limit": "pending",
    "notifications": "notifications",
    "timeout": "timeout_seconds",
    "ask": "ask_seconds",
    "audit kept": "audit_keep_days",
    "without audit": "stop_without_audit",
}


class PolicyReport(NamedTuple):
    """The policy files, and the policy that they come to.

    Attributes:
        files: the files by scope, each with its path; those that there are.
        notes: by path, what is valid but may not be what was meant.
        policy: of both files.
    """

    files: dict[PolicyScope, tuple[str, PolicyFile]]
    notes: dict[str, list[str]]
    policy: Policy

    def find_source(self, key: str) -> PolicyScope | None:
        """The file that a setting of `describe_policy` comes from; None for a default."""
        user, project = (self.files.get(scope, (None, None))[1] for scope in PolicyScope)
        applied, field = describe_policy(self.policy)[key], _FIELDS.get(key, "")
        if project is not None and describe_policy(combine(user, None))[key] != applied:
            return PolicyScope.PROJECT
        is_written = user is not None and getattr(user, field, None) is not None
        is_usual = describe_policy(combine(None, None))[key] == applied
        return PolicyScope.USER if is_written or not is_usual else None


def find_policies(folder: Path) -> dict[PolicyScope, str | None]:
    """The policy files of the user, and of the project that a folder is in."""
    return {
        PolicyScope.USER: user_policy_path(),
        PolicyScope.PROJECT: project_policy_path(str(folder)),
    }


def read_policies(files: Mapping[PolicyScope, str | None]) -> PolicyReport:
    """Read and check policy files, and combine them.

    Raises:
        PolicyError: at least one is invalid; the message has all that is wrong in all of them.
    """
    parsed = _read_all(files)
    notes = {path: _notes(policy_file) for path, policy_file in parsed.values()}
    user, tighter = (parsed.get(scope, (None, None))[1] for scope in PolicyScope)
    if user is not None and tighter is not None:
        notes[parsed[PolicyScope.PROJECT][0]] += _overruled_keys(user, tighter)
    return PolicyReport(parsed, notes, combine(user, tighter))


def _read_all(
    files: Mapping[PolicyScope, str | None],
) -> dict[PolicyScope, tuple[str, PolicyFile]]:
    """Read the files that there are.

    Raises:
        PolicyError: at least one is invalid; the message has all that is wrong in all of them.
    """
    parsed, errors = dict[PolicyScope, tuple[str, PolicyFile]](), list[str]()
    for scope, found in files.items():
        if found is not None:
            try:
                parsed[scope] = (found, _read(found, scope))
            except PolicyError as error:
                errors.append(str(error))
    if errors:
        raise PolicyError("\n".join(errors))
    return parsed


def _read(file: str, scope: PolicyScope) -> PolicyFile:
    today = datetime.date.today()  # noqa: DTZ011  the user's own calendar
    text = policy_text(file, scope)
    is_own = scope is PolicyScope.USER
    check = partial(_check, is_own=is_own)
    return parse_policy(text, file, scope, now=monotonic(), today=today, check=check)


def _check(root: YamlEntry, *, is_own: bool) -> None:
    """Note entries with which no server starts, and those that would do nothing."""
    keys = root.known_fields(("isolate", "actions", "exceptions"))
    if is_own and "isolate" in keys:
        from pipeguard.isolation import check_policy

        check_policy(keys["isolate"])
    for key in ("actions", "exceptions"):
        if key in keys and (is_own or key == "actions"):
            _check_rules(keys[key])


def _check_rules(entries: YamlEntry) -> None:
    """Note entries for a rule or a pack that does not exist."""
    ids = [rule.id for rule in load_rules()]
    packs = dict.fromkeys(id_.partition(".")[0] for id_ in ids) | FAMILIES
    for entry in (item for item in entries.items() if item.is_mapping):
        fields = entry.known_fields(("rule", "pack"))
        glob = (fields["rule"].text() or "*") if "rule" in fields else "*"
        is_of_family = glob.partition(".")[0] in FAMILIES
        if not is_of_family and not any(fnmatchcase(id_, glob) for id_ in ids):
            near = suggestion(glob, ids) or "\n    List them:  pipeguard rules list"
            fields["rule"].wrong(f"no rule matches `{glob}`.{near}")
        pack = fields["pack"].text() if "pack" in fields else None
        if pack is not None and not any(fnmatchcase(name, pack) for name in packs):
            fields["pack"].wrong(f"no pack is called `{pack}`.{suggestion(pack, packs)}")


def _notes(file: PolicyFile) -> list[str]:
    """Warn of what is valid but may not be what was meant."""
    useless = dict.fromkeys(
        exempt.where.rule
        for exempt in file.layer.exceptions
        if find_remedy(exempt.where.rule).way is not Way.EXCEPTION
    )
    return [
        *file.notes,
        *_isolation_notes(file),
        *(f"no exception helps `{rule}`: {find_remedy(rule).advice}" for rule in useless),
    ]


def _isolation_notes(file: PolicyFile) -> list[str]:
    """Warn of grants that are missing now, and of hosts that grant more."""
    if not file.isolate:
        return []
    from pipeguard.isolation import describe_excess, missing_paths

    missing = [why for entry in file.isolate for why in missing_paths(entry)]
    hosts = dict.fromkeys(text for entry in file.isolate for text in entry.hosts)
    excesses = {text: what for text in hosts if (what := describe_excess(text))}
    return [*missing, *(f"isolate, hosts: {text} gives {what}" for text, what in excesses.items())]


def _overruled_keys(user: PolicyFile, project: PolicyFile) -> list[str]:
    """Keys in which the project is looser than the user's file, which then applies."""
    policy = combine(user, project)
    pairs = (
        ("limits.frame", project.frame_bytes, policy.limits.frame_bytes),
        ("limits.pending", project.pending, policy.limits.pending),
        ("limits.notifications", project.notifications, policy.limits.notifications),
        ("limits.timeout", project.timeout_seconds, policy.limits.timeout_seconds),
        ("limits.ask", project.ask_seconds, policy.limits.ask_seconds),
        ("drift.allow", project.drift_allow, policy.drift_allow),
    )
    return [
        f"{key} has no effect, or only part of one: your own policy is stricter"
        for key, wanted, applied in pairs
        if wanted is not None and wanted != applied
    ]


def describe_policy(policy: Policy) -> dict[str, object]:
    """The settings of a policy by name, in words and numbers."""
    exceptions = sum(len(layer.exceptions) for layer in policy.layers)
    actions = sum(len(layer.actions) for layer in policy.layers)
    return {
        "mode": policy.mode.value,
        "trust": policy.trust.value,
        "drift allowed": ", ".join(sorted(drift.value for drift in policy.drift_allow)) or "none",
        "actions": actions,
        "exceptions": exceptions,
        "frame limit": f"{policy.limits.frame_bytes} bytes",
        "pending limit": policy.limits.pending,
        "notifications": f"{policy.limits.notifications} a second",
        "timeout": f"{policy.limits.timeout_seconds or 'none'}",
        "ask": f"{policy.limits.ask_seconds:g} s",
        "asked in client": policy.ask_in_client.value,
        "audit kept": f"{policy.audit_keep_days} days" if policy.audit_keep_days else "for ever",
        "without audit": "stop" if policy.stop_without_audit else "continue",
    }
