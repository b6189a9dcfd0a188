"""`pipeguard policy`: where the policy file stands, whether it is right, and how one looks."""

from __future__ import annotations

import datetime
import json
from fnmatch import fnmatchcase
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import click

from pipeguard.cli._person import Person, new_token, token_path
from pipeguard.cli.explain import FAMILIES
from pipeguard.config.effective_policy import (
    PROJECT_FILE,
    combine,
    project_policy_path,
    user_policy_path,
    usual_policy_path,
)
from pipeguard.config.policy_file import PolicyFile, PolicyScope, parse_policy, policy_text
from pipeguard.config.strict_yaml import suggestion
from pipeguard.rulebook.packs import load_rules

if TYPE_CHECKING:
    from pipeguard.core.rules.policy import Policy

EXAMPLE = """\
# PipeGuard's policy. All of it may be left out; what stands here without a # is the default.
mode: enforce            # observe: judge and record, but let everything through
trust: first-use         # review: a tool that was never seen waits for `pipeguard approve`

# Changes of an approved definition that pass with a warning. Others wait for approval.
# drift: {allow: [wording, name-only]}

# What to do about findings; the first entry that fits decides. All parts of an entry must fit;
# severity and confidence mean "at least". Without an entry: block what is severe and sure.
# actions:
# - {pack: secrets, place: call.arguments, action: redact}
# - {rule: injection.*, confidence: medium, server: web-*, action: block}
# - {rule: commands.*, severity: low, tool: run_*, action: warn}

# Tools that may be called, and that may not. Globs.
# tools: {allow: ["read_*", "list_*"], block: ["delete_*"]}

# False alarms. `pipeguard allow EVENT` writes these. Each names a rule and a reason, and a
# server, a tool or a place.
# exceptions:
# - rule: injection.forged-turn
#   server: docs
#   tool: search
#   place: result.text
#   until: 2027-01-31
#   why: our documentation quotes attacks

limits:
  frame: 16 MiB          # of one message
  pending: 10000         # requests without an answer, in each direction
  notifications: 10000   # in a second; beyond, progress and log messages are dropped
  # timeout: 300 s       # after which a request is answered in the server's stead

audit:
  on_failure: continue   # stop: no traffic without a record of it
  keep: 90 d             # what is older goes, when a server is started; forever: nothing does
"""


@click.group("policy", short_help="Check the policy file, or begin one.")
def command() -> None:
    """Check the policy file, say where it stands, or show one to begin with.

    \b
    Examples:
      pipeguard policy check
      pipeguard policy example > "$(pipeguard policy path)"
    """  # noqa: D301  click reads the mark


@command.command("path")
def path() -> None:
    """Say where your policy file stands, or would, as in `pipeguard policy path`."""
    click.echo(user_policy_path() or usual_policy_path())


@command.command("example")
def example() -> None:
    """Show a policy with every key there is, as in `pipeguard policy example`."""
    click.echo(EXAMPLE, nl=False)


@command.command("ci-token")
@click.option("--revoke", is_flag=True, help="Take the token away; there is one at most.")
def ci_token(*, revoke: bool) -> None:
    """Make the token with which a job of CI may allow, approve, reject and forget.

    A person makes it, on a terminal. It is shown once; keep it as a secret of your CI, and set it
    as PIPEGUARD_APPROVAL_TOKEN for the step that decides, and for no step with an agent in it. Here
    stands its SHA-256 alone, in the file approval-token beside your policy. Bring that file to the
    machines of your CI, where nobody is at a terminal.

    \b
    Examples:
      pipeguard policy ci-token
      pipeguard policy ci-token --revoke
    """  # noqa: D301  click reads the mark
    if revoke:
        token_path().unlink(missing_ok=True)
        click.echo(f"There is no token in {token_path().parent} any more.")
        return
    if not Person.at_terminal().confirms("make a token that approves without you"):
        raise SystemExit(1)
    token, path = new_token()
    click.echo(f"Its SHA-256 stands in {path}. It is shown this once:\n", err=True)
    click.echo(token)


@command.command("check")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option("--project", is_flag=True, help="Read FILE as a project's, which may only tighten.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def check(file: str | None, *, project: bool, as_json: bool) -> None:
    """Check FILE; without it, your policy and that of the project you are in.

    A file called .pipeguard.yaml is read as a project's.

    \b
    Examples:
      pipeguard policy check
      pipeguard policy check draft.yaml

    \b
    Exit codes:
      0  it is right; there may be notes
      2  it is wrong, and each error is listed
    """  # noqa: D301  click reads the mark
    files: dict[PolicyScope, str | None]
    if file is not None:
        project = project or Path(file).name == PROJECT_FILE
        files = {PolicyScope.PROJECT if project else PolicyScope.USER: file}
    else:
        files = {
            PolicyScope.USER: user_policy_path(),
            PolicyScope.PROJECT: project_policy_path(str(Path.cwd())),
        }
    found = {scope: (one, _read(one, scope)) for scope, one in files.items() if one is not None}
    notes = {one: _notes(parsed) for one, parsed in found.values()}
    user, tighter = (
        found.get(scope, (None, None))[1] for scope in (PolicyScope.USER, PolicyScope.PROJECT)
    )
    if user is not None and tighter is not None:
        notes[found[PolicyScope.PROJECT][0]] += _overruled(user, tighter)
    policy = combine(user, tighter)
    if as_json:
        told = {"files": [{"path": one, "notes": list(said)} for one, said in notes.items()]}
        click.echo(json.dumps({**told, "policy": _fields(policy)}, indent=2))
        return
    for one, said in notes.items():
        click.echo(f"{one}: {click.style('right', fg='green')}")
        for note in said:
            click.echo(f"  note: {note}")
    if not notes:
        click.echo(
            f"There is no policy file; it would be {usual_policy_path()}. The defaults hold:"
        )
    for key, value in _fields(policy).items():
        click.echo(f"  {key:<16} {value}")


def _read(file: str, scope: PolicyScope) -> PolicyFile:
    today = datetime.date.today()  # noqa: DTZ011  the user's own calendar
    return parse_policy(policy_text(file, scope), file, scope, now=monotonic(), today=today)


def _notes(file: PolicyFile) -> list[str]:
    """What is right and yet may not be meant."""
    known = [rule.id for rule in load_rules()]
    globs = [entry.where.rule for entry in file.layer.actions]
    globs += [exempt.where.rule for exempt in file.layer.exceptions]
    unfit = dict.fromkeys(
        glob
        for glob in globs
        if glob.partition(".")[0] not in FAMILIES
        and not any(fnmatchcase(rule, glob) for rule in known)
    )
    return [
        *file.notes,
        *(f"no rule fits `{glob}`.{suggestion(glob, known)}".rstrip() for glob in unfit),
    ]


def _overruled(user: PolicyFile, project: PolicyFile) -> list[str]:
    """Where a project asks for less than the user's file does, the user's holds."""
    policy = combine(user, project)
    pairs = (
        ("limits.frame", project.frame_bytes, policy.limits.frame_bytes),
        ("limits.pending", project.pending, policy.limits.pending),
        ("limits.notifications", project.notifications, policy.limits.notifications),
        ("limits.timeout", project.timeout_seconds, policy.limits.timeout_seconds),
        ("drift.allow", project.drift_allow, policy.drift_allow),
    )
    return [
        f"{key} has no effect, or not all of it: your own policy is tighter"
        for key, asked, given in pairs
        if asked is not None and asked != given
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
        "audit kept": f"{policy.audit_keep_days} days" if policy.audit_keep_days else "for ever",
        "without audit": "stop" if policy.stop_without_audit else "continue",
    }
