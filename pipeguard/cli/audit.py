"""`pipeguard audit`: reads the record of events, and checks that it is intact."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial, wraps
from typing import Any, TextIO

import click

from pipeguard.cli import _completions as completions
from pipeguard.cli import _groups
from pipeguard.cli._emit import (
    Fields,
    choice,
    columns,
    emit,
    flag,
    json_option,
    value_option,
    wants_json,
)
from pipeguard.errors import InputError, PipeGuardError
from pipeguard.firewall.session.remedies import is_held
from pipeguard.state import row_filter, search, timestamps, verification
from pipeguard.state.audit import AuditFilter, as_fields, rows
from pipeguard.state.paths import store_path
from pipeguard.state.store import open_store
from pipeguard.unicode.display import pluralize, visible

LISTED = 50  # rows of `list` by default: about two screens


def _since(context: click.Context, option: click.Parameter, value: str | None) -> str:
    """Parse a point in time, given as such or as an age, into the form of the rows' times."""
    if value is None:
        return ""
    try:
        return timestamps.parse_moment(value)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"{value!r} is not a time: try 2h, 7d, 2026-03-02 or 2026-03-02T10:00Z.",
            context,
            option,
        ) from error


def _filters(limit: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add options that filter rows to a command, which gets them as `AuditFilter`."""
    options = (
        click.option("--server", default="", help="Only of this server."),
        click.option("--token", default="", help="Only of clients with this bearer token."),
        click.option("--since", callback=_since, help="As 2h, 7d or 2026-03-02 (UTC)."),
        choice("--action", row_filter.ACTIONS, "Only with this action."),
        choice(
            "--would",
            row_filter.WOULD,
            "Only what `mode: observe` let pass and `enforce` would have stopped this way;"
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
        @wraps(function)
        def run(**given: Any) -> None:
            wanted = {field: given.pop(field) for field in AuditFilter._fields if field in given}
            chosen = {name: wanted[name] or "" for name in ("action", "would")}
            function(AuditFilter(**{**wanted, **chosen}), **given)

        command: Callable[..., None] = run
        for option in reversed(options):
            command = option(command)
        return command

    return add


@_groups.group("audit", "Read and check the record of what happened.")
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
@flag("--pings", "Also pings that passed; --json always has them.")
@json_option
def list_rows(wanted: AuditFilter) -> None:
    """List what happened, oldest first, as in `pipeguard audit list --action block`.

    A blocked row that only waits for your approval is shown as HELD.
    """
    wanted = wanted._replace(pings=wanted.pings or wants_json())
    with open_store() as store:
        found: Iterable[Fields] = map(as_fields, rows(store, wanted, by_time=True))
        found = list(found) if wants_json() or wanted.limit else found
        emit(found, _table, empty="No row of the audit matches.")
    if not wants_json() and isinstance(found, list) and len(found) == wanted.limit:
        click.echo(f"Only the newest {wanted.limit} rows; --limit 0 lists all.", err=True)


@command.command("show")
@click.argument("event")
@json_option
def show(event: str) -> None:
    """Show all that is recorded of EVENT, as in `pipeguard audit show K7Q2M9D4.c12`."""
    with open_store() as store:
        events = [as_fields(row) for row in rows(store, AuditFilter(event=event))]
    if not events:
        raise PipeGuardError(
            f"no event {event!r} is in the audit.\n  List the events:  pipeguard audit list"
        )
    emit(events, lambda shown: "\n\n".join(map(_page, shown)))


_CHANGED = "Another program did it: PipeGuard changes no row. Do not trust what such a row says."
_DIFFERS = """\
The rows are consistent, but they are not those of {}: either the audit was rewritten since, or that
file is not as you stored it."""


@command.command("verify")
@flag("--heads", "Also list each chain's head, to be stored elsewhere.")
@value_option(
    "--against",
    "FILE",
    "Also compare with heads listed earlier.",
    type=click.File(encoding="utf-8", errors="backslashreplace"),
)
@json_option
def verify_chains(*, heads: bool, against: TextIO | None) -> None:
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
    problems, listed, gaps = verification.examine(store_path())
    changed = f"The audit was changed: {{}}. {_CHANGED}"
    if against is not None:
        changed = changed if problems else _DIFFERS.format(visible(against.name))
        try:
            problems += verification.compare(store_path(), against)
        except InputError as error:
            raise InputError(f"{against.name}: {error}") from None
    fields: Fields = {
        "problems": [problem._asdict() for problem in problems],
        "chains": [each._asdict() for each in listed],
        "gaps": gaps,
    }
    emit(fields, partial(_examination, has_heads=heads))
    if problems and not wants_json():
        click.echo(changed.format(pluralize(len(problems), "problem")), err=True)
    raise SystemExit(1 if problems else 0)


def _examination(fields: Fields, *, has_heads: bool) -> Iterator[str]:
    if has_heads:
        for each in fields["chains"]:
            yield f"{each['head']}  {each['length']:>8}  {visible(each['chain'])}"
    for problem in fields["problems"]:
        event = f" (event {visible(problem['event'])})" if problem["event"] else ""
        yield f"{visible(problem['chain']) or 'chains'}: {problem['what']}{event}"
    for gap in fields["gaps"]:
        yield f"gap: {visible(gap)}"
    if not fields["problems"]:
        count = sum(each["length"] for each in fields["chains"])
        chains = len(fields["chains"])
        yield f"{pluralize(count, 'row')} in {pluralize(chains, 'chain')}, unchanged."


@command.command("export")
@_filters(0)
@choice(
    "--format",
    ["jsonl", "csv", "otlp"],
    "One row a line in jsonl, the default, and in csv; otlp for a collector.",
    "form",
    default="jsonl",
)
@value_option(
    "--to", "TARGET", "Send all rows to a file, to a folder, or to the URL of a collector."
)
@value_option("--cursor", "NAME", "Continue after the last row that TARGET has; needed for --to.")
@flag("--follow", "Stay, and send each row to TARGET a moment after it was written.")
def export(
    wanted: AuditFilter, *, form: str, to: str | None, cursor: str | None, follow: bool
) -> None:
    """Write rows to standard output, or send all rows to TARGET.

    In CSV, a text that a spreadsheet would run as a formula gets an apostrophe in front, and
    control characters are shown by their code points.

    TARGET is a file, a folder, which gets one file a day, or a collector of OpenTelemetry, which
    needs the extra `otel`. The cursor moves once TARGET has a row. If the export is killed, it may
    send a row again, with the same `id`. Each day, and when it changes, it adds a row `posture`:
    the versions of PipeGuard and of the organisation's policy, and how many servers are guarded.

    \b
    Examples:
      pipeguard audit export --format csv > audit.csv
      pipeguard audit export --to /var/log/pipeguard/ --cursor files
      pipeguard audit export --format otlp --to https://otel.example.com --cursor otel --follow

    \b
    Exit codes:
      0  TARGET has all rows
      1  TARGET was away for 10 seconds, or refused rows; or another export uses NAME
      2  TARGET or NAME is wrong, and no row was sent
      4  the store cannot be read
    """  # noqa: D301  click reads the mark
    if to and cursor:
        if wanted != AuditFilter():
            raise click.UsageError("--to sends all rows: it takes no filter.")
        from pipeguard.assess.posture import PostureWatch
        from pipeguard.state.export.cursor import open_cursor
        from pipeguard.state.export.exporting import choose_target, export_rows

        target = choose_target(to, form)
        with open_cursor(cursor, str(target)) as place:
            count = export_rows(place, target, follow=follow, before=PostureWatch().look)
        click.echo(f"{pluralize(count, 'row')} sent.")
    elif (to, cursor) != (None, None) or follow or form == "otlp":
        raise click.UsageError("--to and --cursor belong together, and --follow and otlp to them.")
    else:
        with open_store() as store:
            for line in search.export_lines(rows(store, wanted), is_csv=form == "csv"):
                click.echo(line)


_TITLES = ("time", "event", "server", "action", "what", "why, and what it took")


def _table(shown: Iterable[Fields]) -> Iterator[str]:
    return columns(_TITLES, map(_cells, shown))


def _cells(row: Fields) -> tuple[str, ...]:
    findings = row["findings"]
    would = {finding["would"] for finding in findings if finding.get("would")}
    waits = is_held(each["rule"] for each in findings if each.get("action") == "block")
    most = next((action for action in ("block", "ask", "cut", "redact") if action in would), "")
    why = ", ".join(dict.fromkeys(finding["rule"] for finding in findings))
    notes = "; ".join(visible(each["note"]) for each in findings if each.get("note"))
    if row["kind"] in ("approval", "proposal"):  # who decided, on what and why
        why = f"{visible(row['client'])}: {notes}" if row["client"] else notes
    elif row["kind"] == "gap":
        why = f"{why}: {notes}"
    cost = ""
    if row["duration_ms"] is not None:
        cost = f"{row['duration_ms']:.1f} ms, {row['request_bytes']} + {row['frame_bytes']} bytes"
    return (
        row["time"],
        row["event"],
        row["server"],
        f"{'HELD' if waits else row['action'].upper()}{most and f', would: {most}'}",
        " ".join(filter(None, (row["method"] or row["kind"], row["tool"]))),
        "; ".join(filter(None, (why, cost, row["token"] and f"token {row['token']}"))),
    )


def _page(fields: Fields) -> str:
    lines = [
        f"{name.replace('_', ' '):<13} {visible(str(value))}"
        for name, value in fields.items()
        if name != "findings" and value not in ("", None)
    ]
    for finding in fields["findings"]:
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
