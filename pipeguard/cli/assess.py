"""`pipeguard assess`: how a machine, or a repository, stands. Changes nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeguard.core.finding import Severity
from pipeguard.runtime.progress import COMPILING, told

if TYPE_CHECKING:
    from pipeguard.assess.assessing import Assessment
    from pipeguard.assess.target import AssessmentTarget
    from pipeguard.core.rules.policy import Policy

PASSED, FAILED = 0, 1
NEVER = "never"
LEVELS = [one.name.lower() for one in sorted(Severity, reverse=True)]
_REPORTS = Path(__file__).parent.parent / "assess" / "reports"
FORMATS = sorted(path.stem for path in _REPORTS.glob("[a-z]*.py"))


@click.command("assess", short_help="Check how a machine or a repository stands.")
@click.argument(
    "folder", metavar="[DIR]", required=False, type=click.Path(exists=True, file_okay=False)
)
@click.option(
    "--connect",
    "connects",
    is_flag=True,
    help="Start or call each server, and scan what it offers. Runs the commands that are found.",
)
@click.option(
    "--credentials",
    is_flag=True,
    help="With --connect: with your home folder, the entries' secrets and your logins.",
)
@click.option(
    "--limit",
    "limit_seconds",
    metavar="SECONDS",
    type=click.FloatRange(0.1, 3600),
    default=30.0,
    show_default=True,
    help="With --connect: for one server.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="The form of the report.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--output", metavar="FILE", type=click.Path(dir_okay=False), help="Write the report there."
)
@click.option(
    "--fail-on",
    type=click.Choice([*LEVELS, NEVER]),
    default="high",
    show_default=True,
    help="The exit code is 1 where something new is at least that bad.",
)
@click.option(
    "--baseline",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="What FILE holds, a baseline or a report in JSON, is known, and fails nothing.",
)
@click.option(
    "--write-baseline",
    "write_to",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Write what is found now as a baseline.",
)
@click.option("--explain", metavar="CHECK", help="Show the page of one check, and do nothing else.")
def command(folder: str | None, **options: object) -> None:
    """Check the servers of every MCP client, what guards them, and who can reach what.

    Without DIR it looks at this machine: your clients' files and those of the project that you are
    in, the policy, pins and audit. With DIR it looks at that repository alone, as somebody would
    who has just cloned it. Nothing is changed, no secret is shown, and without --connect nothing
    is started or called.

    With --connect each server is started behind the guard, in an empty home folder and without
    credentials, or called where it is remote; its tools, prompts and resources are listed and
    scanned. No tool is called. It is no sandbox: do not use it on a repository that you do not
    trust.

    \b
    Examples:
      pipeguard assess
      pipeguard assess --connect --format html --output posture.html
      pipeguard assess . --fail-on medium --baseline .pipeguard-baseline.json
      pipeguard assess . --format sarif --output pipeguard.sarif --fail-on never
      pipeguard assess --explain secret-in-config

    \b
    Exit codes:
      0  nothing new is as bad as --fail-on says
      1  something is
      2  wrong usage, or a file that was named cannot be read or written
      3  the scan engine is missing
    """  # noqa: D301  click reads the mark
    if options["explain"]:
        from pipeguard.assess.checking import check_of, page

        click.echo(page(check_of(str(options["explain"]))), nl=False)
        return
    if options["credentials"] and not options["connects"]:
        raise click.UsageError("--credentials is for --connect.")
    raise SystemExit(_assess(folder, options))


def _assess(folder: str | None, options: dict[str, object]) -> int:
    from pipeguard.assess import baseline
    from pipeguard.assess.assessing import assess
    from pipeguard.assess.reporting import report

    known = baseline.read(Path(str(options["baseline"]))) if options["baseline"] else frozenset()
    subject = _subject(folder)
    if options["connects"]:
        subject = _connected(
            subject,
            limit_seconds=float(str(options["limit_seconds"])),
            credentials=bool(options["credentials"]),
        )
    assessment = assess(subject, known)
    if options["write_to"]:
        _write_baseline(assessment, Path(str(options["write_to"])))
    form = "json" if options["as_json"] else str(options["form"])
    text = report(form, assessment)
    if options["output"]:
        _write(Path(str(options["output"])), text)
    else:
        click.echo(text, nl=not text.endswith("\n"))
    level = str(options["fail_on"])
    least = None if level == NEVER else Severity[level.upper()]
    return FAILED if assessment.fails(least) else PASSED


def _subject(folder: str | None) -> AssessmentTarget:
    from pipeguard.assess.target import of_machine, of_repository
    from pipeguard.auth.store import LoginStore
    from pipeguard.clients.machine import Machine
    from pipeguard.clients.rewrite import Wishes
    from pipeguard.rulebook.cache import load_engines

    with told(COMPILING):
        compiled = load_engines()
    if folder is not None:
        return of_repository(Path(folder).absolute(), Machine.here(), compiled)
    here = Path.cwd()
    machine = Machine.here(None if here == Path.home() else here)
    return of_machine(machine, compiled, Wishes(is_logged_in=LoginStore().holds))


def _connected(
    subject: AssessmentTarget, *, limit_seconds: float, credentials: bool
) -> AssessmentTarget:
    from pipeguard.assess.connecting import ConnectOptions, connect

    how = ConnectOptions(limit_seconds, credentials)
    with _progress(len(subject.servers)) as tell:
        return subject.with_contents(connect(subject, how, _policy(subject), tell))


def _policy(subject: AssessmentTarget) -> Policy:
    """The policy in force, so that what a person allowed is not found again."""
    from pipeguard.config.effective_policy import load_wrap_policy
    from pipeguard.config.options import WrapOptions
    from pipeguard.core.rules.policy import Policy
    from pipeguard.errors import PolicyError

    if subject.is_repository:
        return Policy()
    try:
        return load_wrap_policy(WrapOptions((), {}, {}, []))
    except PolicyError:
        return Policy()  # a check tells of it


class _progress:  # noqa: N801  used as a function
    """A line on stderr that says how far it is; on a terminal it stays one line."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._told = 0.0

    def __enter__(self) -> _progress:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._told and sys.stderr.isatty():
            click.echo("\r\033[K", nl=False, err=True)

    def __call__(self, done: int, count: int, name: str) -> None:
        from time import monotonic

        from pipeguard.core.unicode.display import shown

        now = monotonic()
        terminal = sys.stderr.isatty()
        if not self._told:
            self._told = now
        if terminal:
            text = f"\r\033[Kasked {done} of {count} servers: {shown(name, 40)}"
            click.echo(text, nl=False, err=True)
        elif now - self._told > 1.0 or done == count:
            self._told = now
            click.echo(f"asked {done} of {count} servers", err=True)


def _write(path: Path, text: str) -> None:
    from pipeguard.errors import InputError

    try:
        path.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None


def _write_baseline(assessment: Assessment, path: Path) -> None:
    from pipeguard.assess import baseline

    baseline.write(
        path,
        (
            {
                "fingerprint": assessment.fingerprint(one),
                "check": one.check,
                "where": assessment.where(one).rpartition(":")[0] or assessment.where(one),
                "server": one.server,
            }
            for one in assessment.findings
        ),
    )
