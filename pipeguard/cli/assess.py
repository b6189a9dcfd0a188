"""`pipeguard assess`: the security posture of a machine or a repository. Changes nothing."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from pipeguard.cli._emit import choice, flag, value_option
from pipeguard.cli._setup_request import must_have_effect
from pipeguard.errors import InputError, PolicyError
from pipeguard.firewall.finding import Severity
from pipeguard.firewall.policy import Policy
from pipeguard.runtime.progress import wait_for_engines
from pipeguard.unicode.display import pluralize

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeguard.assess.target import AssessmentTarget

PASSED = 0
FAILED = 1
NEVER = "never"
LEVELS = [severity.name.lower() for severity in sorted(Severity, reverse=True)]
_REPORTS = Path(__file__).parent.parent / "assess" / "reports"
FORMATS = sorted(path.stem for path in _REPORTS.glob("[a-z]*.py"))


@click.command("assess", short_help="Check the security of a machine or a repository.")
@click.argument(
    "folder", metavar="[DIR]", required=False, type=click.Path(exists=True, file_okay=False)
)
@flag(
    "--connect",
    "Start or call each server and scan what it offers. This runs the commands in the files.",
    "connects",
)
@flag(
    "--credentials", "With --connect: use your home folder, the entries' secrets and your logins."
)
@value_option(
    "--limit",
    "SECONDS",
    "With --connect: how long one server may take.",
    "limit_seconds",
    type=click.FloatRange(0.1, 3600),
    default=30.0,
    show_default=True,
)
@choice("--format", FORMATS, "The form of the report.", "form", default="table", show_default=True)
@flag("--json", "The same as --format json.", "as_json")
@value_option("--output", "FILE", "Write the report to FILE.", type=click.Path(dir_okay=False))
@choice(
    "--fail-on",
    [*LEVELS, NEVER],
    "Exit with 1 if a new finding is at least this severe.",
    default="high",
    show_default=True,
)
@value_option(
    "--baseline",
    "FILE",
    "Findings in FILE, a baseline or a JSON report, are not new.",
    type=click.Path(dir_okay=False),
)
@value_option(
    "--write-baseline",
    "FILE",
    "Write the findings to FILE as a baseline, and exit with 0.",
    "write_to",
    type=click.Path(dir_okay=False),
)
@value_option("--explain", "CHECK", "Show the page of one check, and exit.")
def command(folder: str | None, **options: Any) -> None:
    """Check the servers of every MCP client: what guards them, and who can reach what.

    Without DIR it checks this machine: your clients' files and those of the project that you are
    in, the gateway's pipeguard.yaml, the policy, pins and audit. With DIR it checks only that
    repository, as somebody sees it who has just cloned it. It changes nothing and shows no secret,
    and without --connect it starts and calls nothing.

    With --connect each local server is started behind the guard, in an empty home folder and
    without credentials, and each remote server is called; tools, prompts and resources are listed
    and scanned. No tool is called. This is not a sandbox: do not use it on a repository that you do
    not trust.

    \b
    Examples:
      pipeguard assess
      pipeguard assess --connect --format html --output posture.html
      pipeguard assess . --fail-on medium --baseline .pipeguard-baseline.json
      pipeguard assess . --format sarif --output pipeguard.sarif --fail-on never
      pipeguard assess --explain secret-in-config

    \b
    Exit codes:
      0  no new finding is as severe as --fail-on
      1  at least one is
      2  wrong usage, or a file cannot be read or written
      3  the scan engine is missing
    """  # noqa: D301  click reads the mark
    if options["explain"]:
        from pipeguard.assess.checking import page, to_check

        click.echo(page(to_check(options["explain"])), nl=False)
        return
    if not options["connects"]:
        must_have_effect("credentials", "limit_seconds", need="it needs --connect")
    if options["as_json"]:
        must_have_effect("form", need="--json is --format json")
    raise SystemExit(_assess(folder, options))


def _assess(folder: str | None, options: dict[str, Any]) -> int:
    from pipeguard.assess import baseline
    from pipeguard.assess.assessing import assess, report

    baselined = baseline.read(Path(options["baseline"])) if options["baseline"] else frozenset()
    target = _target(folder)
    if options["connects"]:
        from pipeguard.assess.connecting import ConnectOptions, connect

        how = ConnectOptions(options["limit_seconds"], options["credentials"])
        contents = connect(target, how, _policy(target), _make_progress())
        target = replace(target, contents=contents)
    assessment = assess(target, baselined)
    write_to = options["write_to"]
    if write_to:
        baseline.write(Path(write_to), assessment)
    text = report("json" if options["as_json"] else options["form"], assessment)
    if options["output"]:
        _write(Path(options["output"]), text)
        click.echo(f"Written to {options['output']}.", err=True)
    else:
        click.echo(text, nl=not text.endswith("\n"))
    if write_to:
        what = pluralize(len(assessment.findings), "finding")
        again = f"--baseline {shlex.quote(write_to)}"
        click.echo(f"{what} written to {write_to}. Known with:  {again}", err=True)
        return PASSED
    least = None if options["fail_on"] == NEVER else Severity[options["fail_on"].upper()]
    return FAILED if assessment.fails(least) else PASSED


def _target(folder: str | None) -> AssessmentTarget:
    from pipeguard.assess.target import of_machine, of_repository
    from pipeguard.auth.store import has_login
    from pipeguard.clients.machine import Machine
    from pipeguard.clients.rewrite import GuardOptions

    compiled = wait_for_engines()
    if folder is not None:
        return of_repository(Path(folder).absolute(), Machine.here(), compiled)
    options = GuardOptions(is_logged_in=has_login)
    return of_machine(Machine.in_current_folder(), compiled, options)


def _policy(target: AssessmentTarget) -> Policy:
    """Return the policy in force, so that allowed things are not reported again."""
    from pipeguard.config.options import WrapOptions
    from pipeguard.rulebook.policy_rules import load_wrap_policy

    if target.is_repository:
        return Policy()
    try:
        return load_wrap_policy(WrapOptions())
    except PolicyError:
        return Policy()  # a check reports it


def _make_progress() -> Callable[[int, int, str], None]:
    """Return a function that shows progress on stderr: a line a second, and one at the end."""
    last_shown = monotonic()

    def show(done: int, count: int, _name: str) -> None:
        nonlocal last_shown
        now = monotonic()
        if now - last_shown > 1.0 or done == count:
            last_shown = now
            click.echo(f"checked {done} of {count} servers", err=True)

    return show


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(click.unstyle(text).removesuffix("\n") + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None
