"""Policy files of a run, as its audit notes them if they are not the usual ones.

So an exception is written where it has an effect, and one that a project's file overrules is not.
"""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from pipeguard.errors import PolicyError
from pipeguard.firewall.finding import Action, Confidence, Severity
from pipeguard.firewall.policy import PolicyTarget
from pipeguard.firewall.protocol.places import Surface

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable

    from pipeguard.state.store import Store

FIRST_ROWS = 100  # of a run, among which it notes its policy files: it does so as it begins


def noted_policy(store: Store, event: str, rule: str) -> str:
    """The policy file that the run of an event noted; empty where it noted none.

    Args:
        store: the store.
        event: the event's name, which begins with the run's.
        rule: USER_POLICY or PROJECT_POLICY.

    Raises:
        StateError: the store cannot be read.
    """
    from pipeguard.state.audit import AuditFilter, rows

    run = AuditFilter(rule=rule, chain=event.partition(".")[0], last_seq=FIRST_ROWS)
    noted = [row.entry.findings for row in rows(store, run)]
    paths = [str(finding.get("path", "")) for text in noted for finding in json.loads(text)]
    return next((path for path in paths if path and Path(path).exists()), "")


def find_overruled(
    path: str, server: str, findings: Iterable[dict[str, str]], today: datetime.date
) -> str:
    """The rule of the first finding that a project's file stops, whatever the user's allows.

    Args:
        path: of the project's file.
        server: the server's name.
        findings: as the audit has them.
        today: the date.

    Returns:
        The rule, or empty where the project's file stops none.

    Raises:
        PolicyError: the file is invalid.
    """
    from pipeguard.config.policy_file import PolicyScope, parse_policy, policy_text

    text = policy_text(path, PolicyScope.PROJECT)
    layer = parse_policy(text, path, PolicyScope.PROJECT, now=0.0, today=today).layer
    for finding in findings:
        if layer.action(make_target(finding, server), 0.0) >= Action.REDACT:
            return finding["rule"]
    return ""


def find_exempting(
    store: Store,
    event: str,
    server: str,
    stopped: Iterable[dict[str, str]],
    today: datetime.date,
) -> str:
    """Find the policy file whose exceptions let what stopped an event pass now; empty for none.

    Args:
        store: the store.
        event: the event's name.
        server: the server's name.
        stopped: its findings that stopped something.
        today: the date.

    Raises:
        StateError: the store cannot be read.
        PolicyError: a file is invalid.
    """
    from pipeguard.config.effective_policy import PROJECT_POLICY, USER_POLICY
    from pipeguard.config.policy_file import PolicyScope, parse_policy, policy_text
    from pipeguard.config.user_policy import user_policy_path

    path = noted_policy(store, event, USER_POLICY) or user_policy_path() or ""
    stopped = [finding for finding in stopped if finding.get("place")]
    if not path or not stopped:
        return ""
    text = policy_text(path, PolicyScope.USER)
    layer = parse_policy(text, path, PolicyScope.USER, now=0.0, today=today).layer
    if not all(layer.exempts(make_target(each, server), 0.0) for each in stopped):
        return ""
    project = noted_policy(store, event, PROJECT_POLICY)
    return "" if project and find_overruled(project, server, stopped, today) else path


def find_user_policy(store: Store, event: str) -> str:
    """The user's policy file by which the run of an event goes, which need not exist.

    Raises:
        StateError: the store cannot be read.
    """
    from pipeguard.config.effective_policy import USER_POLICY
    from pipeguard.config.user_policy import own_policy_path

    return noted_policy(store, event, USER_POLICY) or own_policy_path()


def describe_refusal(store: Store, event: str, findings: Iterable[dict[str, str]]) -> str:
    """Say which line of which policy file does not allow calls of an event's tool.

    Returns:
        What to do; empty if that is not a policy file's doing, or a file cannot be read.

    Raises:
        StateError: the store cannot be read.
    """
    from pipeguard.config.directories import config_folder
    from pipeguard.config.effective_policy import PROJECT_POLICY
    from pipeguard.config.policy_file import PolicyScope, policy_text

    refused = next((each for each in findings if each["rule"] == "policy.tool"), {})
    tool, note = refused.get("tool", ""), refused.get("note", "")
    key, is_of_gateway, _ = note.partition(" in pipeguard.yaml does not allow")
    if is_of_gateway:
        usual = Path(config_folder(), "pipeguard.yaml")
        file = f"{usual}, or in the file of `serve --config`" if usual.exists() else usual.name
        do = f"If you want it all the same, change {key} in {file}."
        return f"{do} A running gateway applies it at once."
    if not tool or not note.startswith("the policy does not allow"):
        return ""
    user = find_user_policy(store, event)
    project = noted_policy(store, event, PROJECT_POLICY)
    files = (
        (user, PolicyScope.USER, ""),
        (project, PolicyScope.PROJECT, ", and restart the server"),
    )
    for path, scope, after in files:
        try:
            text = policy_text(path, scope) if path and Path(path).exists() else ""
            found = _find_refusing_line(text, path, tool)
        except PolicyError:
            return ""
        if found is not None:
            key, line = found
            return f"If you want it all the same, change `{key}` in line {line} of {path}{after}."
    return f"No policy file refuses {tool} any more. If it is still refused, restart the server."


def _find_refusing_line(text: str, source: str, tool: str) -> tuple[str, int] | None:
    """Find the key and the line of a policy that do not allow calls of a tool; None if it does.

    Args:
        text: the YAML document.
        source: its name, for errors.
        tool: the name that its server gives it.

    Raises:
        PolicyError: it is no YAML document.
    """
    from pipeguard.config.strict_yaml import Document

    root = Document(text, source).root
    if root is None or not root.is_mapping:
        return None
    tools = root.known_fields(("tools",)).get("tools")
    lists = tools.known_fields(("block", "allow")) if tools is not None else {}
    for entry in lists["block"].items() if "block" in lists else ():
        if fnmatchcase(tool, entry.text() or ""):
            return "tools.block", entry.line
    allowed = lists["allow"].items() if "allow" in lists else []
    if allowed and not any(fnmatchcase(tool, entry.text() or "") for entry in allowed):
        return "tools.allow", allowed[0].line
    return None


def make_target(finding: dict[str, str], server: str) -> PolicyTarget:
    """A finding of the audit as a policy sees it."""
    return PolicyTarget(
        finding["rule"],
        Severity[finding["severity"].upper()],
        Confidence[finding["confidence"].upper()],
        *(finding["place"], server, finding.get("tool") or None, Surface.TO_CLIENT),
        content=finding.get("content", ""),
        paths=tuple(filter(None, [finding.get("path", "")])),
        hosts=tuple(filter(None, [finding.get("host", "")])),
    )


def check_not_overruled(
    path: str, server: str, findings: Iterable[dict[str, str]], today: datetime.date
) -> None:
    """Refuse an exception that would have no effect.

    Raises:
        PolicyError: a project's file stops the same; the message says what to change.
    """
    if rule := find_overruled(path, server, findings, today):
        raise PolicyError(
            f"the project's policy {path} stops {rule} here, whatever your own allows.\n"
            "  Change its `actions` and restart the server; a project's file can only tighten, so"
            " no exception helps."
        )
