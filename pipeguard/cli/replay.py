"""`pipeguard replay`: judges recorded sessions again, by another policy too."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from pipeguard.cli._emit import Fields, choice, flag, value_option
from pipeguard.cli._setup_request import must_have_effect
from pipeguard.config.policy_file import PolicyScope
from pipeguard.doctor.policies import read_policies
from pipeguard.firewall.policy import Policy
from pipeguard.replay.comparison import KINDS, compare, render
from pipeguard.replay.learning import learn_policy
from pipeguard.replay.server import serve_record
from pipeguard.runtime.progress import wait_for_engines
from pipeguard.state.record.folder import list_records


@click.command("replay", short_help="Judge recorded sessions again.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@value_option("--policy", "FILE", "Judge by FILE, a user's policy, instead of the recorded ones.")
@choice(
    "--fail-on",
    ["any", "stopped", "passed"],
    "Exit with 1 only for such differences; by default, for any.",
    default="any",
)
@choice(
    "--format",
    ["table", "json", "junit"],
    "The form of the report; by default, a table.",
    "form",
    default="table",
)
@flag("--serve", "Be the server of one record on stdio, for tests of an agent.")
@flag("--learn", "Print a policy that allows only the tools whose calls passed.")
def command(
    paths: tuple[str, ...], *, policy: str | None, fail_on: str, form: str, serve: bool, learn: bool
) -> None:
    """Judge recorded sessions again, by the recorded policies or by another one.

    PATH is a record, or a folder of records. No server is started, and nothing is stored. Answers
    to calls that are stopped now are left out. `ask` and `block` stop.

    With --serve, a request gets the answer that the record has to one of the same method and
    params, without `_meta`; repeated ones get theirs in turn, then the last. Anything else gets an
    error. With --learn, comments say which hosts and folders the calls of each tool named; review
    it before you use it.

    \b
    Examples:
      pipeguard replay records
      pipeguard replay records --policy draft.yaml --fail-on stopped
      pipeguard replay records --learn > draft.yaml
      pipeguard replay records/github-K7Q2M9D4.jsonl --serve

    \b
    Exit codes:
      0  every frame has the same fate
      1  there are differences; with --serve, a request was not in the record
      2  a record cannot be read or was changed, or the policy is invalid
      3  the scan engine is missing
    """  # noqa: D301  click reads the mark
    if serve or learn:
        must_have_effect("policy", "fail_on", "form", need="nothing is compared")
        raise SystemExit(_give(list_records(paths), serves=serve))
    draft = read_policies({PolicyScope.USER: policy}).policy if policy else None
    report = compare_paths(paths, draft)
    failing = KINDS if fail_on == "any" else [fail_on]
    click.echo(json.dumps(report, indent=2) if form == "json" else render(report, form, failing))
    raise SystemExit(any(report[kind] for kind in failing))


def _give(records: list[Path], *, serves: bool) -> int:
    """Serve a record, or print the policy that some teach; return the exit code."""
    if not serves:
        click.echo(learn_policy(records), nl=False)
        return 0
    if len(records) != 1:
        raise click.UsageError(f"--serve takes one record, not {len(records)}.")
    return 0 if serve_record(records[0]) else 1


def compare_paths(paths: Sequence[str], policy: Policy | None) -> Fields:
    """Compare the records in files and folders with their replay.

    Args:
        paths: of records and their folders.
        policy: by which frames are judged; None for the recorded ones.

    Raises:
        InputError: there is no record, or one cannot be read or was changed.
    """
    return compare(wait_for_engines(), list_records(paths), policy)
