"""The policy files that apply, read strictly: their errors, and the resulting policy."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.config import effective_policy
from pipeguard.config.effective_policy import combine_sources
from pipeguard.config.policy_file import PolicyFile, PolicyScope, show_size
from pipeguard.errors import PolicyError
from pipeguard.firewall.finding import Action
from pipeguard.firewall.policy import Mode, Policy, Selector
from pipeguard.firewall.session.remedies import Way, find_remedy
from pipeguard.rulebook.policy_rules import check_actions, describe_missing
from pipeguard.state.review import tool_states
from pipeguard.state.store import open_existing_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeguard.config.strict_yaml import YamlEntry


_FIELDS = {  # of a file, by the names of `describe_policy`
    "mode": "mode",
    "trust": "trust",
    "drift_allowed": "drift_allow",
    "audit_kept": "audit_keep_days",
    "without_audit": "stop_without_audit",
}
_UNITS = {
    "notifications": "{} a second",
    "timeout": "{:g} s",
    "ask": "{:g} s",
    "audit_kept": "{} d",
}
_NOTHING = {  # in words, if it is not "none"
    "tools_allowed": "all",
    "servers_allowed": "all",
    "audit_kept": "forever",
}


class PolicyReport(NamedTuple):
    """The policy files and the resulting policy.

    Attributes:
        files: by scope.
        notes: by path, settings that are valid but may be mistakes.
        policy: of all files.
    """

    files: dict[PolicyScope, PolicyFile]
    notes: dict[str, list[str]]
    policy: Policy

    def find_source(self, key: str) -> PolicyScope | None:
        """The file that a setting of `describe_policy` comes from; None for a default."""
        files = self.files
        applied = describe_policy(self.policy)[key]
        for scope in reversed(files):
            others = combine_sources({each: files[each] for each in files if each is not scope})
            if scope is not PolicyScope.USER and describe_policy(others)[key] != applied:
                return scope
        is_written = getattr(files.get(PolicyScope.USER), _FIELDS.get(key, ""), None) is not None
        is_usual = describe_policy(combine_sources({}))[key] == applied
        return PolicyScope.USER if is_written or not is_usual else None


def read_policies(files: Mapping[PolicyScope, str | None]) -> PolicyReport:
    """Read and check policy files, and combine them.

    Raises:
        PolicyError: at least one is invalid; the message lists every error in all of them.
    """
    parsed = dict[PolicyScope, PolicyFile]()
    errors = list[str]()
    for scope, path in files.items():
        if path is not None:
            try:
                parsed[scope] = read_policy(path, scope)
            except PolicyError as error:
                errors.append(str(error))
    if errors:
        raise PolicyError("\n".join(errors))
    notes = {path: list_notes(parsed[scope]) for scope, path in files.items() if path is not None}
    return PolicyReport(parsed, notes, combine_sources(parsed))


def read_policy(file: str, scope: PolicyScope) -> PolicyFile:
    """Read and check one file.

    Raises:
        PolicyError: it is invalid.
    """
    check = _check_own if scope is PolicyScope.USER else check_actions
    return effective_policy.read_policy(file, scope, check)


def _check_own(root: YamlEntry) -> None:
    """Check the user's file for entries with which no server starts."""
    keys = root.known_fields(("isolate", "egress"))
    if keys:
        from pipeguard.isolation import check_policy, check_proxy

        for key, check in (("isolate", check_policy), ("egress", check_proxy)):
            if key in keys:
                check(keys[key])
    check_actions(root)


def list_notes(file: PolicyFile) -> list[str]:
    """List settings that are valid but may be mistakes."""
    layer = file.layer
    exempted = dict.fromkeys(exempt.where.rule for exempt in layer.exceptions)
    missing = list[str]()
    if exempted:
        from pipeguard.rulebook.cache import rule_ids  # with the detector, 4 MB

        ids = rule_ids()
        missing = [why for rule in exempted if (why := describe_missing(rule, ids))]
    useless = {
        "no exception helps": exempted,
        "no action decides": dict.fromkeys(
            entry.where.rule for entry in layer.actions if "*" not in entry.where.rule
        ),
    }
    passing = Action.ALLOW, Action.WARN
    lets_all = any(entry.where == Selector() and entry.action in passing for entry in layer.actions)
    return [
        *file.notes,
        *(["mode: observe only records: nothing is stopped"] if file.mode is Mode.OBSERVE else []),
        *(["actions: an entry lets every finding of every rule pass"] if lets_all else []),
        *_isolation_notes(file),
        *_name_notes(file),
        *(
            f"{what} `{rule}`: {find_remedy(rule).advice}"
            for what, rules in useless.items()
            for rule in rules
            if find_remedy(rule).way is not Way.EXCEPTION
        ),
        *(f"an exception has no effect: {why}" for why in missing),
    ]


def _name_notes(file: PolicyFile) -> list[str]:
    """Warn of names that no known server or tool has."""
    store = open_existing_store()
    if store is None:
        return []
    with store:
        servers = {*store.named_servers(), *store.servers()}
        tools = {tool.name for states in tool_states(store).values() for tool in states}
    layer = file.layer
    places = [action.where for action in layer.actions]
    places += [exempt.where for exempt in layer.exceptions]
    of_servers = [where.server for where in places] + [entry.server for entry in file.isolate]
    of_tools = [*layer.tools_allow, *layer.tools_block, *layer.tools_ask]
    of_tools += [where.tool for where in places]
    return [
        f"no {what} here is called `{glob}`"
        for what, globs, known in (
            ("server that ran", of_servers, servers),
            ("tool that was seen", of_tools, tools),
        )
        for glob in dict.fromkeys(globs)
        if known and not any(fnmatchcase(name, glob) for name in known)
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


def describe_policy(policy: Policy) -> dict[str, object]:
    """The settings of a policy by name: bytes, seconds, days and lists; None for no limit."""
    layers = policy.layers
    return {
        "mode": policy.mode.value,
        "trust": policy.trust.value,
        "drift_allowed": sorted(drift.value for drift in policy.drift_allow),
        "actions": sum(len(layer.actions) for layer in layers),
        "exceptions": sum(len(layer.exceptions) for layer in layers),
        "tools_allowed": [list(layer.tools_allow) for layer in layers if layer.tools_allow] or None,
        "tools_blocked": [glob for layer in layers for glob in layer.tools_block],
        "tools_asked_about": [glob for layer in layers for glob in layer.tools_ask],
        "servers_allowed": [list(each.servers_allow) for each in layers if each.servers_allow]
        or None,
        "servers_blocked": [glob for layer in layers for glob in layer.servers_block],
        "frame_limit": policy.limits.frame_bytes,
        "pending_limit": policy.limits.pending,
        "notifications": policy.limits.notifications,
        "timeout": policy.limits.timeout_seconds,
        "ask": policy.limits.ask_seconds,
        "asked_in_client": policy.ask_in_client.value,
        "flows": "client" if policy.follows_client else "server",
        "audit_kept": policy.audit_keep_days or None,
        "without_audit": "stop" if policy.stop_without_audit else "continue",
    }


def word_setting(key: str, value: object) -> str:
    """Write a value of `describe_policy` for people."""
    if value is None or value == []:
        return _NOTHING.get(key, "none")
    if isinstance(value, list):
        joint = ", and of these " if key in ("tools_allowed", "servers_allowed") else ", "
        return joint.join(word_setting("", each) for each in value)
    if key == "frame_limit" and isinstance(value, int):
        return show_size(value)
    return _UNITS.get(key, "{}").format(value)
