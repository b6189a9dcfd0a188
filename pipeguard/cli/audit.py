"""`pipeguard audit`: reads the record of what happened, and checks that it is intact."""

from __future__ import annotations

import functools
import json
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from pipeguard.cli import _completions as completions
from pipeguard.cli._columns import in_columns
from pipeguard.cli._groups import CommandGroup
from pipeguard.errors import InputError, PipeGuardError
from pipeguard.firewall.session.remedies import is_held
from pipeguard.state.audit import (
    AuditEntry,
    AuditFilter,
    AuditRow,
    as_fields,
    count_pings,
    parse_findings,
    rows,
)
from pipeguard.state.export import export_lines
from pipeguard.state.paths import store_path
from pipeguard.state.row_filter import ACTIONS, WOULD
from pipeguard.state.store import Store
from pipeguard.state.timestamps import parse_moment
from pipeguard.state.verification import compare, describe_gap, examine
from pipeguard.unicode.display import pluralize, visible

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

LISTED = 50  # rows of `list` by default: about two screens


def _since(context: click.Context, option: click.Parameter, value: str | None) -> str:
    """A point in time, given as such or as an age, in the form that rows are compared with."""
    if value is None:
        return ""
    try:
        return parse_moment(value)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"{value!r} is not a time: try 2h, 7d, 2026-03-02 or 2026-03-02T10:00Z.",
            context,
            option,
        ) from error


def _filters(limit: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options that choose rows to a command, which gets them as `AuditFilter`."""
    options = (
        click.option(
            "--server", default="", shell_complete=completions.servers, help="Only of this server."
        ),
        click.option("--token", default="", help="Only of clients with this bearer token."),
        click.option("--since", callback=_since, help="As 2h, 7d or 2026-03-02 (UTC)."),
        click.option("--action", type=click.Choice(ACTIONS), help="Only with this action."),
        click.option(
            "--would",
            type=click.Choice(WOULD),
            help="Only what `mode: observe` let pass and `enforce` would have stopped this way;"
            " any: in any way.",
        ),
        click.option(
            "--rule",
            default="",
            shell_complete=completions.rules,
            help="Only with this rule, or with rules of this pack.",
        ),
        click.option(
            "--limit", type=click.IntRange(0), default=limit, help="The newest N; 0 for all."
        ),
    )

    def add(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(**given: Any) -> None:
            wanted = {field: given.pop(field) for field in AuditFilter._fields if field in given}
            chosen = {name: wanted[name] or "" for name in ("action", "would")}
            function(AuditFilter(**{**wanted, **chosen}), **given)

        command: Callable[..., None] = run
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.group("audit", cls=CommandGroup, short_help="Read and check the record of what happened.")
def command() -> None:
    """Read and check the record of what happened.

    Each frame has a row: who sent it, when, what was decided and why, and the frame's hash. No
    frame and no secret is in it. Requests that `wrap --listen` or `serve --listen` refused
    have rows as well, at most one a minute for each kind.

    \b
    Examples:
      pipeguard audit list --action block --since 7d
      pipeguard audit verify
    """  # noqa: D301  click reads the mark


@command.command("list")
@_filters(LISTED)
@click.option("--pings", is_flag=True, help="Also pings that passed; --json always has them.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def list_rows(wanted: AuditFilter, *, as_json: bool) -> None:
    """List what happened, oldest first, as in `pipeguard audit list --action block`.

    A blocked row that only waits for your approval is shown as HELD.
    """
    has_older = False
    with Store.open(store_path()) as store:
        if as_json:
            found = rows(store, wanted._replace(pings=True), by_time=True)
            click.echo(json.dumps([as_fields(row) for row in found], indent=2))
            return
        one_more = wanted._replace(limit=wanted.limit + bool(wanted.limit))
        listed = rows(store, one_more, by_time=True)
        if wanted.limit:
            newest = list(listed)
            has_older, listed = len(newest) > wanted.limit, iter(newest[-wanted.limit :])
        first = next(listed, None)
        for line in in_columns(_TITLES, map(_cells, chain([first] if first else [], listed))):
            click.echo(line)
        hidden = 0 if wanted.pings else count_pings(store, wanted, first)
    if first is None:
        click.echo("No row of the audit matches.", err=True)
    if has_older:
        click.echo(f"Only the newest {wanted.limit} rows; --limit 0 lists all.", err=True)
    if hidden:
        click.echo(f"{pluralize(hidden, 'ping')} not listed; --pings lists them.", err=True)


@command.command("show")
@click.argument("event", shell_complete=completions.events)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def show(event: str, *, as_json: bool) -> None:
    """Show all that is recorded of EVENT, as in `pipeguard audit show K7Q2M9D4.c12`."""
    with Store.open(store_path()) as store:
        events = [as_fields(row) for row in rows(store, AuditFilter(event=event))]
    if not events:
        raise PipeGuardError(
            f"no event {event!r} is in the audit.\n  List the events:  pipeguard audit list"
        )
    click.echo(json.dumps(events, indent=2) if as_json else "\n\n".join(map(_page, events)))


_CHANGED = """Another program did it: PipeGuard changes no row.
  Do not trust what such a row says. `pipeguard audit show EVENT` shows it as it is now.
  Keep a copy of {}, and find out who can write it.
  PipeGuard repairs nothing. This is reported until `audit.keep` removes those runs; the same file
  has your pins."""


_DIFFERS = """\
The rows are consistent, but they are not those of {}: either the audit was rewritten since, or that
file is not as you stored it."""


@command.command("verify")
@click.option("--heads", is_flag=True, help="Also list each chain's head, to be stored elsewhere.")
@click.option(
    "--against",
    metavar="FILE",
    type=click.File(encoding="utf-8", errors="backslashreplace"),
    help="Also compare with heads listed earlier.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def verify_chains(*, heads: bool, against: TextIO | None, as_json: bool) -> None:
    """Check that no row was changed, moved or removed, as in `pipeguard audit verify`.

    The hashes have no key, so whoever can write the file can rewrite all of it. To detect that,
    store what --heads prints elsewhere, and compare later with --against. Runs removed for their
    age (`audit.keep` in the policy) are not missing: `audit list --action prune` lists them. What
    could not be recorded in time is listed as a gap, which is not a change.

    \b
    Exit codes:
      0  the audit is intact
      1  it is not, and each problem is listed
      2  FILE is no list of heads
    """  # noqa: D301  click reads the mark
    problems, listed, gaps = examine(store_path())
    is_consistent = not problems
    if against is not None:
        try:
            problems += compare(store_path(), against)
        except InputError as error:
            raise InputError(f"{against.name}: {error}") from None
    if as_json:
        fields = {
            "problems": [problem._asdict() for problem in problems],
            "chains": [each._asdict() for each in listed],
            "gaps": gaps,
        }
        click.echo(json.dumps(fields, indent=2))
        raise SystemExit(1 if problems else 0)
    if heads:
        for each in listed:
            click.echo(f"{each.head}  {each.length:>8}  {visible(each.chain)}")
    for problem in problems:
        event = f" (event {visible(problem.event)})" if problem.event else ""
        click.echo(f"{visible(problem.chain) or 'chains'}: {problem.what}{event}")
    for gap in gaps:
        click.echo(f"gap: {visible(gap)}")
    count = sum(each.length for each in listed)
    if problems:
        found = pluralize(len(problems), "problem")
        text = f"The audit was changed: {found}. {_CHANGED.format(store_path())}"
        if against is not None and is_consistent:
            text = _DIFFERS.format(visible(against.name))
        click.echo(text, err=True)
        raise SystemExit(1)
    click.echo(f"{pluralize(count, 'row')} in {pluralize(len(listed), 'chain')}, unchanged.")


@command.command("export")
@_filters(0)
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    help="One row a line in either; jsonl by default.",
)
def export(wanted: AuditFilter, *, form: str) -> None:
    """Write rows to standard output, as in `pipeguard audit export --format csv > audit.csv`.

    In CSV, a text that a spreadsheet would run as a formula gets an apostrophe in front, and
    control characters are shown by their code points.
    """
    with Store.open(store_path()) as store:
        for line in export_lines(rows(store, wanted), is_csv=form == "csv"):
            click.echo(line)


_TITLES = ("time", "event", "server", "action", "what", "why, and what it took")


def _cells(row: AuditRow) -> tuple[str, ...]:
    entry = row.entry
    findings = parse_findings(entry)
    rules = ", ".join(dict.fromkeys(finding["rule"] for finding in findings))
    would = {finding["would"] for finding in findings if finding.get("would")}
    waits = is_held(each["rule"] for each in findings if each.get("action") == "block")
    most = next((action for action in ("block", "ask", "cut", "redact") if action in would), "")
    why = (
        _describe_decision(entry, findings)
        or (f"{rules}: {describe_gap(row)}" if entry.kind == "gap" else rules),
        _cost(entry),
        f"token {entry.token}" if entry.token else "",
    )
    return (
        entry.time,
        entry.event,
        row.server,
        f"{'HELD' if waits else entry.action.upper()}{most and f', would: {most}'}",
        " ".join(filter(None, (entry.method or entry.kind, entry.tool))),
        "; ".join(filter(None, why)),
    )


def _describe_decision(entry: AuditEntry, findings: list[dict[str, str]]) -> str:
    """Say who decided, on what and why; empty for rows of frames."""
    if entry.kind not in ("approval", "proposal"):
        return ""
    notes = "; ".join(visible(each["note"]) for each in findings if each.get("note"))
    return f"{f'{visible(entry.client)}: ' if entry.client else ''}{notes}"


def _cost(entry: AuditEntry) -> str:
    """The cost of a call, at its answer; empty for other rows."""
    if entry.duration_ms is None:
        return ""
    return f"{entry.duration_ms:.1f} ms, {entry.request_bytes} + {entry.frame_bytes} bytes"


def _page(fields: dict[str, object]) -> str:
    lines = [
        f"{name.replace('_', ' '):<13} {visible(str(value))}"
        for name, value in fields.items()
        if name != "findings" and value not in ("", None)
    ]
    findings = fields["findings"]
    for finding in findings if isinstance(findings, list) else ():
        lines += ["", *_finding_lines(finding)]
    return "\n".join(lines)


def _finding_lines(finding: dict[str, str]) -> list[str]:
    lines = []
    for name, value in finding.items():
        first, *more = str(value).split("\n") if name == "note" else [str(value)]
        if value != "":
            lines.append(f"  {name:<11} {visible(first)}")
        lines += [f"{'':14}{visible(line.strip())}" for line in more]
    return lines
