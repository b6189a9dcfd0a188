"""`pipeguard policy`: starts the policy file, says where it is and whether it is valid."""

from __future__ import annotations

import datetime
import json
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import click

from pipeguard.cli._groups import CommandGroup
from pipeguard.cli._person import Person, new_token, token_path
from pipeguard.config.effective_policy import PROJECT_FILE, combine, project_policy_path
from pipeguard.config.policy_file import PolicyFile, PolicyScope, parse_policy, policy_text
from pipeguard.config.user_policy import user_policy_path, usual_policy_path
from pipeguard.errors import InputError, PolicyError
from pipeguard.firewall.session.remedies import Way, find_remedy
from pipeguard.rulebook.cache import load_engines
from pipeguard.rulebook.packs import load_rules
from pipeguard.rulebook.rule_texts import FAMILIES
from pipeguard.runtime.progress import COMPILING, say_if_slow
from pipeguard.state.exceptions import save
from pipeguard.unicode.display import suggestion

if TYPE_CHECKING:
    from pipeguard.config.strict_yaml import YamlEntry
    from pipeguard.firewall.policy import Policy

EXAMPLE = """\
# PipeGuard's policy. All of it may be left out; lines without a # are the defaults.
mode: enforce            # observe: judge and record; no rule stops anything
trust: first-use         # review: a tool that was never seen waits for `pipeguard approve`

# Changes of an approved definition that pass with a warning. Others wait for approval.
# drift: {allow: [wording, name-only]}

# What to do about findings; the first entry that fits decides. All parts of an entry must fit;
# severity and confidence mean "at least". If no entry fits: block what is severe and sure.
# actions:
# - {pack: secrets, place: call.arguments, action: redact}
# - {rule: injection.classifier, action: block}   # by default, passages are cut out of results
# - {rule: injection.*, confidence: medium, server: web-*, action: block}
# - {rule: commands.*, severity: low, tool: run_*, action: warn}
# - {rule: flows.ordered, action: ask}            # what a text ordered waits until you allow it

# Tools that may be called, and tools that may not. Globs.
# tools: {allow: ["read_*", "list_*"], block: ["delete_*"]}

# False alarms. `pipeguard allow EVENT` writes these. Each names a rule and a reason, and a
# server, a tool or a place; `content`, `path` or `host` make it narrower.
# exceptions:
# - rule: injection.forged-turn
#   server: docs
#   tool: search
#   place: result.text
#   path: /srv/docs/*      # of calls that name such a file
#   until: 2027-01-31
#   why: our documentation quotes attacks

limits:
  frame: 16 MiB          # of one message
  pending: 10000         # requests without an answer, in each direction
  notifications: 10000   # in a second; beyond, progress and log messages are dropped
  # timeout: 300 s       # after which PipeGuard answers a request in place of the server
  ask: 50 s              # for which a call waits until you allow it; most clients wait for 60 s

audit:
  on_failure: continue   # stop: no traffic without a record of it
  keep: 90 d             # older rows are removed when a server starts; forever: none is
"""


@click.group("policy", cls=CommandGroup, short_help="Check the policy file, or start one.")
def command() -> None:
    """Start a policy file, check it, or print its path.

    \b
    Examples:
      pipeguard policy init
      pipeguard policy check
    """  # noqa: D301  click reads the mark


@command.command("init")
def init() -> None:
    """Start your policy file, with every key and its default, as in `pipeguard policy init`.

    It changes nothing until you edit it. A file that is there already stays as it is.
    """
    path = user_policy_path() or usual_policy_path()
    if Path(path).exists():
        raise InputError(f"{path} is there already.\n  Check it:  pipeguard policy check")
    save(path, EXAMPLE)
    click.echo(f"Written to {path}. Edit it, then check it:  pipeguard policy check")


@command.command("path")
def path() -> None:
    """Print where your policy file is, or would be, as in `pipeguard policy path`."""
    click.echo(user_policy_path() or usual_policy_path())


@command.command("example")
def example() -> None:
    """Show a policy with every key, as in `pipeguard policy example`."""
    click.echo(EXAMPLE, nl=False)


@command.command("ci-token")
@click.option("--revoke", is_flag=True, help="Remove the token; there is at most one.")
def ci_token(*, revoke: bool) -> None:
    """Make the token with which a CI job may allow, approve, reject and forget.

    A person makes it, on a terminal. It is shown once. Store it as a secret of your CI, and set it
    as PIPEGUARD_APPROVAL_TOKEN for the step that decides, and for no step that runs an agent. Only
    its SHA-256 is stored here, in the file approval-token next to your policy. Copy that file to
    your CI machines, where nobody is at a terminal.

    \b
    Examples:
      pipeguard policy ci-token
      pipeguard policy ci-token --revoke
    """  # noqa: D301  click reads the mark
    if revoke:
        token_path().unlink(missing_ok=True)
        click.echo(f"The token is removed from {token_path().parent}.")
        return
    if not Person.at_terminal().confirms("make a token that approves without you"):
        raise SystemExit(1)
    token, path = new_token()
    click.echo(f"Its SHA-256 is in {path}. The token is shown only this once:\n", err=True)
    click.echo(token)


@command.command("check")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option("--project", is_flag=True, help="Read FILE as a project's, which can only tighten.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def check(file: str | None, *, project: bool, as_json: bool) -> None:
    """Check FILE, or by default your policy and that of the project you are in.

    A file named .pipeguard.yaml is read as a project's. What isolated servers are given, and your
    own rule packs, are read as at a start; what is not there now is a note. An entry for a rule
    that does not exist is an error.

    \b
    Examples:
      pipeguard policy check
      pipeguard policy check draft.yaml

    \b
    Exit codes:
      0  valid; there may be notes
      2  invalid, and each error is listed; or a rule pack is
    """  # noqa: D301  click reads the mark
    load_rules()  # without its rules no server starts, whatever the policy says
    with say_if_slow(COMPILING):
        load_engines()
    files: dict[PolicyScope, str | None]
    if file is not None:
        project = project or Path(file).name == PROJECT_FILE
        files = {PolicyScope.PROJECT if project else PolicyScope.USER: file}
    else:
        files = {
            PolicyScope.USER: user_policy_path(),
            PolicyScope.PROJECT: project_policy_path(str(Path.cwd())),
        }
    parsed = _read_all(files)
    notes = {path: _notes(policy_file) for path, policy_file in parsed.values()}
    user, tighter = (
        parsed.get(scope, (None, None))[1] for scope in (PolicyScope.USER, PolicyScope.PROJECT)
    )
    if user is not None and tighter is not None:
        notes[parsed[PolicyScope.PROJECT][0]] += _overruled_keys(user, tighter)
    policy = combine(user, tighter)
    if as_json:
        fields = {"files": [{"path": path, "notes": noted} for path, noted in notes.items()]}
        click.echo(json.dumps({**fields, "policy": _fields(policy)}, indent=2))
        return
    for path, noted in notes.items():
        click.echo(f"{path}: {click.style('valid', fg='green')}")
        for note in noted:
            click.echo(f"  note: {note}")
    if not notes:
        click.echo(
            f"There is no policy file; `pipeguard policy init` starts {usual_policy_path()}."
            " The defaults apply:"
        )
    for key, value in _fields(policy).items():
        click.echo(f"  {key:<16} {value}")


def _read_all(files: dict[PolicyScope, str | None]) -> dict[PolicyScope, tuple[str, PolicyFile]]:
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


def _fields(policy: Policy) -> dict[str, object]:
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
        "audit kept": f"{policy.audit_keep_days} days" if policy.audit_keep_days else "for ever",
        "without audit": "stop" if policy.stop_without_audit else "continue",
    }
