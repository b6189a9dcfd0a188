"""`pipeguard audit`: what happened, and whether the record of it is whole. Reads only."""

from __future__ import annotations

import csv
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from pipeguard.cli import _completing as completing
from pipeguard.core.unicode.display import visible
from pipeguard.errors import PipeGuardError
from pipeguard.state.audit import AuditFilter, AuditRow, as_fields, chains, rows
from pipeguard.state.missing import read_notes
from pipeguard.state.paths import store_path
from pipeguard.state.store import Store
from pipeguard.state.timestamps import utc_text
from pipeguard.state.verification import verify

if TYPE_CHECKING:
    from collections.abc import Callable

ACTIONS = ("allow", "warn", "redact", "block", "approve", "reject", "forget", "prune")
LISTED = 50  # rows of `list`, unless told otherwise: about two screens


def _since(context: click.Context, option: click.Parameter, value: str | None) -> str:
    """A time, or how long ago, as the text that rows are compared with."""
    if value is None:
        return ""
    ago = re.fullmatch(r"(\d{1,6})([mhdw])", value)
    try:
        if ago:
            unit = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[ago[2]]
            moment = datetime.now(UTC) - timedelta(**{unit: int(ago[1])})
        else:
            moment = datetime.fromisoformat(value)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return utc_text(moment)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"{value!r} is no time: try 2h, 7d, 2026-03-02 or 2026-03-02T10:00Z.", context, option
        ) from error


def _filters(limit: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    options = (
        click.option(
            "--server", default="", shell_complete=completing.servers, help="Only this server's."
        ),
        click.option("--since", callback=_since, help="As 2h, 7d or 2026-03-02 (UTC)."),
        click.option("--action", type=click.Choice(ACTIONS), help="Only with this action."),
        click.option(
            "--rule",
            default="",
            shell_complete=completing.rules,
            help="Only with this rule, or a rule of this pack.",
        ),
        click.option(
            "--limit", type=click.IntRange(0), default=limit, help="The newest N; 0 for all."
        ),
    )

    def add(function: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            function = option(function)
        return function

    return add


@click.group("audit", short_help="Read and check the record of what happened.")
def command() -> None:
    """Read and check the record of what happened.

    Each frame has a row: who, when, what was decided and why, and the frame's hash. No frame and
    no secret is in it. Who was not let in by `wrap --listen` has rows as well, one a minute and
    kind at most.

    \b
    Examples:
      pipeguard audit list --action block --since 7d
      pipeguard audit verify
    """  # noqa: D301  click reads the mark


@command.command("list")
@_filters(LISTED)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def list_rows(
    *, server: str, since: str, action: str | None, rule: str, limit: int, as_json: bool
) -> None:
    """List what happened, oldest first, as in `pipeguard audit list --action block`."""
    wanted = AuditFilter(server, since, action or "", rule, limit=limit)
    with Store.open(store_path()) as store:
        if as_json:
            click.echo(json.dumps([as_fields(row) for row in rows(store, wanted)], indent=2))
            return
        empty = True
        for row in rows(store, wanted):
            click.echo(_line(row))
            empty = False
    if empty:
        click.echo("Nothing of that kind is in the audit.", err=True)


@command.command("show")
@click.argument("event", shell_complete=completing.events)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def show(event: str, *, as_json: bool) -> None:
    """Show all that is known of EVENT, as in `pipeguard audit show K7Q2M9D4.c12`."""
    with Store.open(store_path()) as store:
        found = [as_fields(row) for row in rows(store, AuditFilter(event=event))]
    if not found:
        raise PipeGuardError(
            f"no event {event!r} is in the audit.\n  List those that are:  pipeguard audit list"
        )
    click.echo(json.dumps(found, indent=2) if as_json else "\n\n".join(map(_page, found)))


@command.command("verify")
@click.option("--heads", is_flag=True, help="Also list each chain's head, to be noted elsewhere.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def verify_chains(*, heads: bool, as_json: bool) -> None:
    """Check that no row was changed, moved or removed, as in `pipeguard audit verify`.

    The hashes have no key: who can write the file can write it all anew. To see that too, keep
    what --heads prints in another place. Runs that went for their age, as `audit.keep` in the
    policy says, are not missed: `audit list --action prune` says which. What could not be written
    at its time is listed as a gap; that is no change, and the audit is whole with it.

    \b
    Exit codes:
      0  the audit is whole
      1  it is not, and each place where it is not is listed
    """  # noqa: D301  click reads the mark
    problems = verify(store_path())
    with Store.open(store_path()) as store:
        known = list(chains(store))
        gaps = [_note(row) for row in rows(store, AuditFilter(rule="audit.gap"))]
    gaps += [note.sentence() for note in read_notes(store_path())]
    if as_json:
        told = {
            "problems": [p._asdict() for p in problems],
            "chains": [c._asdict() for c in known],
            "gaps": gaps,
        }
        click.echo(json.dumps(told, indent=2))
        raise SystemExit(1 if problems else 0)
    if heads:
        for chain in known:
            click.echo(f"{chain.head}  {chain.length:>8}  {visible(chain.chain)}")
    for problem in problems:
        click.echo(f"{visible(problem.chain) or 'chains'}: {problem.what}")
    for gap in gaps:
        click.echo(f"gap: {visible(gap)}")
    count = sum(chain.length for chain in known)
    if problems:
        click.echo(f"The audit is not as it was written: {len(problems)} problems.", err=True)
        raise SystemExit(1)
    click.echo(f"{count} rows in {len(known)} chains, all as they were written.")


@command.command("export")
@_filters(0)
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    help="A row a line in either; jsonl if not given.",
)
def export(
    *, server: str, since: str, action: str | None, rule: str, limit: int, form: str
) -> None:
    """Write rows to standard output, as in `pipeguard audit export --format csv > audit.csv`.

    In CSV a text that a spreadsheet would run as a formula has an apostrophe before it, and a
    control character is named by its number.
    """
    wanted = AuditFilter(server, since, action or "", rule, limit=limit)
    writer = csv.writer(sys.stdout)
    with Store.open(store_path()) as store:
        for i, row in enumerate(rows(store, wanted)):
            fields = as_fields(row)
            if form == "jsonl":
                click.echo(json.dumps(fields, separators=(",", ":")))
                continue
            if i == 0:
                writer.writerow(fields)
            fields["findings"] = row.entry.findings
            writer.writerow(_cell(value) for value in fields.values())


def _cell(value: object) -> object:
    """No formula (OWASP, CSV Injection) and no escape sequence: names are a peer's words.

    A spreadsheet may part a line at semicolons too, so a formula may stand behind one, also in
    quotes, which it takes away.
    """
    if not isinstance(value, str):
        return value
    text = _PARTED.sub(r"\1'", visible(value))
    return f"'{text}" if text.lstrip()[:1] in _FORMULA else text


_FORMULA = frozenset("=+-@＝＋－＠")
_PARTED = re.compile(f"(;[\x22' ]*)(?=[{''.join(map(re.escape, sorted(_FORMULA)))}])")


def _line(row: AuditRow) -> str:
    entry = row.entry
    rules = ", ".join(finding["rule"] for finding in json.loads(entry.findings))
    rules = f"{rules}: {_note(row)}" if entry.kind == "gap" else rules
    what = " ".join(filter(None, (entry.method or entry.kind, entry.tool)))
    columns = (entry.time, row.server, entry.action.upper().ljust(7), what, rules, entry.event)
    return "  ".join(visible(column) for column in columns if column)


def _note(row: AuditRow) -> str:
    """What a row about missing ones says, with its time."""
    notes = [str(finding.get("note", "")) for finding in json.loads(row.entry.findings)]
    return f"{'; '.join(notes)} ({' '.join(filter(None, (row.entry.time, row.entry.event)))})"


def _page(fields: dict[str, object]) -> str:
    lines = [
        f"{name.replace('_', ' '):<13} {visible(str(value))}"
        for name, value in fields.items()
        if name != "findings" and value != ""
    ]
    findings = fields["findings"]
    for finding in findings if isinstance(findings, list) else ():
        lines += ["", *_finding_lines(finding)]
    return "\n".join(lines)


def _finding_lines(finding: dict[str, str]) -> list[str]:
    return [f"  {name:<11} {visible(str(value))}" for name, value in finding.items() if value != ""]
