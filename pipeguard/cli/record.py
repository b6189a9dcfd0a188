"""`pipeguard record`: lists recorded sessions, shows them, and checks that they are whole."""

import json
from contextlib import suppress

import click

from pipeguard.cli import _groups
from pipeguard.cli._emit import Fields, columns, emit, json_option
from pipeguard.state.record.folder import list_records, summarise
from pipeguard.state.record.lines import read_lines

_paths = click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path())


@_groups.group("record", "List, show and check recorded sessions.")
def command() -> None:
    """List, show and check sessions that `wrap` and `serve` recorded.

    They record if they are given --record DIR, or if your policy has `record: {folder: DIR}`. A
    record has the frames of one client's session. In place of each secret it has a made-up value of
    the same form. PATH is a record, or a folder of records.

    \b
    Examples:
      pipeguard record list ~/records
      pipeguard record show ~/records/github-K7Q2M9D4.jsonl
      pipeguard record verify ~/records
    """  # noqa: D301  click reads the mark


@command.command("list")
@_paths
@json_option
def list_sessions(paths: tuple[str, ...]) -> None:
    """List records: when each began, its frames, and how it ended.

    \b
    Examples:
      pipeguard record list ~/records
      pipeguard record list ~/records --json

    \b
    Exit codes:
      0  listed, also records that were changed
      2  there is no record
    """  # noqa: D301  click reads the mark
    _print([summarise(path) for path in list_records(paths)])


@command.command("verify")
@_paths
@json_option
def verify(paths: tuple[str, ...]) -> None:
    """Check that no line of a record was changed, moved or removed, and that it has an end.

    It has none while its session runs, if PipeGuard was killed, or if its last lines were removed.

    The hashes show damage and careless edits. They have no key, so they prove nothing against
    somebody who can rewrite the file.

    \b
    Examples:
      pipeguard record verify ~/records
      pipeguard record verify ~/records/github-K7Q2M9D4.jsonl

    \b
    Exit codes:
      0  each record is unchanged, and has its end
      1  one was changed, has no end, cannot be read, or is no record
      2  there is no record
    """  # noqa: D301  click reads the mark
    records = [summarise(path) for path in list_records(paths)]
    _print(records)
    raise SystemExit(any(each["frames"] is None for each in records))


@command.command("show")
@_paths
@json_option
def show(paths: tuple[str, ...]) -> None:
    """Show the frames of records in their order.

    Each has the seconds since the record began, its server, who sent it, its method or `result` or
    `error`, and what the policy did with it by which rules.

    \b
    Examples:
      pipeguard record show ~/records/github-K7Q2M9D4.jsonl
      pipeguard record show ~/records --json

    \b
    Exit codes:
      0  shown
      2  a file cannot be read, is no record, or was changed
    """  # noqa: D301  click reads the mark
    _print([_outline(line) for path in list_records(paths) for _, line in read_lines(path)])


def _print(rows: list[Fields]) -> None:
    cells = (["" if cell is None else str(cell) for cell in row.values()] for row in rows)
    emit(rows, lambda _: columns([*rows[0]], cells))


def _outline(line: Fields) -> Fields:
    """The columns of a line; for a frame `what` is its method, or `result` or `error`."""
    names = "n", "t", "server", "from", "what", "action", "rules"
    row = {name: line.get(name, "") for name in names}
    with suppress(LookupError, TypeError, ValueError, AttributeError, RecursionError):
        message = json.loads(line["frame"])
        row["what"] = message.get("method", "error" if "error" in message else "result")
    return row
