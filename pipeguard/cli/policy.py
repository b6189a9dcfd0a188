"""`pipeguard policy`: creates the policy file, prints its path, and validates it."""

from importlib import resources
from pathlib import Path

import click

from pipeguard.cli import _emit, _groups, _policy_bundle, _policy_follow
from pipeguard.cli._emit import Fields, emit, flag, json_option, value_option, wants_json
from pipeguard.cli.replay import compare_paths
from pipeguard.config.effective_policy import find_policies
from pipeguard.config.policy_file import PolicyScope
from pipeguard.config.user_policy import PROJECT_FILE, own_policy_path, usual_policy_path
from pipeguard.doctor.policies import describe_policy, read_policies, word_setting
from pipeguard.errors import InputError, PolicyError
from pipeguard.launch.person import Person, new_token, token_path
from pipeguard.replay.comparison import KINDS, render
from pipeguard.rulebook.packs import load_rules
from pipeguard.runtime.progress import wait_for_engines
from pipeguard.state.exceptions import save

EXAMPLE = resources.files("pipeguard.config").joinpath("example.yaml").read_text("utf-8")


@_groups.group("policy", "Check the policy file, or start one.")
def command() -> None:
    """Start a policy file, check it, or print its path.

    \b
    Examples:
      pipeguard policy init
      pipeguard policy check
    """  # noqa: D301  click reads the mark


command.add_command(_policy_bundle.bundle)
command.add_command(_policy_follow.follow)


@command.command("init")
def init() -> None:
    """Start your policy file, with every key and its default, as in `pipeguard policy init`.

    It changes nothing until you edit it. A file that is there already stays as it is.
    """
    path = own_policy_path()
    if Path(path).exists():
        raise InputError(
            f"{path} already exists.\n  Check it:      pipeguard policy check"
            "\n  See each key:  pipeguard policy example"
        )
    save(path, EXAMPLE)
    click.echo(f"Written to {path}. Edit it, then check it:  pipeguard policy check")


@command.command("path")
def path() -> None:
    """Print where your policy file is, or would be, as in `pipeguard policy path`."""
    click.echo(own_policy_path())


@command.command("example")
def example() -> None:
    """Show a policy with every key, as in `pipeguard policy example`."""
    click.echo(EXAMPLE, nl=False)


@command.command("ci-token")
@flag("--revoke", "Remove the token; there is at most one.")
def ci_token(*, revoke: bool) -> None:
    """Make the token with which a CI job decides in your place.

    The job may allow, approve, reject and forget, decide about proposed servers, grant and revoke
    what isolated servers are given, and make and revoke clients' tokens.

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
    Person.at_terminal().must_confirm("make a token that approves without you")
    token, path = new_token()
    click.echo(f"Its SHA-256 is in {path}. The token is shown only this once:\n", err=True)
    click.echo(token)


@command.command("check")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False))
@flag("--project", "Read FILE as a project's, which can only tighten.")
@value_option(
    "--replay",
    "PATH",
    "Judge this record again, or a folder of them, as `pipeguard replay` does.",
    "records",
    multiple=True,
)
@json_option
def check(file: str | None, *, project: bool, records: tuple[str, ...]) -> None:
    """Check FILE, or by default the policies that apply in this folder.

    A file named .pipeguard.yaml is read as a project's. What isolated servers are given, and your
    own rule packs, are read as at a start; what is not there now is a note. An action for a rule
    that does not exist is an error, and an exception for one a note. In --json, sizes are in bytes,
    times in seconds and `audit_kept` in days; null is no limit. A tool or server has to be
    in every list of `tools_allowed` or `servers_allowed`.

    \b
    Examples:
      pipeguard policy check
      pipeguard policy check draft.yaml
      pipeguard policy check draft.yaml --replay records

    \b
    Exit codes:
      0  valid; there may be notes
      1  a recorded frame would have another fate
      2  invalid, and each error is listed, in `errors` of --json; or a rule pack or a record is
    """  # noqa: D301  click reads the mark
    load_rules()  # without its rules no server starts, whatever the policy says
    wait_for_engines()
    project = project or (file is not None and Path(file).name == PROJECT_FILE)
    scope = PolicyScope.PROJECT if project else PolicyScope.USER
    try:
        report = read_policies(find_policies() if file is None else {scope: file})
    except PolicyError as error:
        if wants_json():
            emit({"errors": str(error).splitlines()}, str)
        raise
    isolated = [entry.server for read in report.files.values() for entry in read.isolate]
    settings = {**describe_policy(report.policy), "isolate": isolated}
    files = [{"path": path, "notes": noted} for path, noted in report.notes.items()]
    value: Fields = {"files": files, "policy": settings}
    if records:
        value["replay"] = compare_paths(records, report.policy)
    code = any(value["replay"][kind] for kind in KINDS) if records else None
    emit(value, _screen, code=code)


def _screen(fields: Fields) -> str:
    screen = {**fields, "usual": usual_policy_path()}
    return _emit.render("policy", screen, word=word_setting, compare=render)
