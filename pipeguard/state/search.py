"""Searches of the audit by a person's filter, bounded in rows; knows SQL and no pages."""

from __future__ import annotations

import csv
import io
import json
import re
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.state.audit import COLUMNS, LATE_ROWS, AuditRow, as_fields, make_row, select
from pipeguard.state.row_conditions import to_condition
from pipeguard.state.timestamps import parse_moment
from pipeguard.unicode.display import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeguard.state.pins import Store
    from pipeguard.state.row_filter import RowFilter

MOST_LOOKED_AT = 100_000  # rows of one search; the next one continues from there
BATCH_ROWS = 1_000  # of a stream


class FoundRows(NamedTuple):
    """Rows that fit a filter, the newest first.

    Attributes:
        rows: each with its number in the store.
        older: the number below which more may fit; 0 if all were looked at.
    """

    rows: list[tuple[int, AuditRow]]
    older: int


def find_rows(
    store: Store, where: RowFilter, *, limit: int, before: int = 0, only: str = "TRUE"
) -> FoundRows:
    """Find the newest rows that fit, among the `MOST_LOOKED_AT` newest.

    Args:
        store: the store.
        where: the filter.
        limit: on their number.
        before: only rows with lower numbers; 0 for all.
        only: a further condition in SQL, a constant.

    Raises:
        StateError: the store cannot be read.
    """
    condition, values = to_condition(where)
    top = before or last_number(store) + 1
    floor = max(0, top - 1 - MOST_LOOKED_AT)
    for moment in where.find_values("since"):
        floor = max(floor, find_number(store, parse_moment(moment)))
    condition = f"WHERE id > ? AND id < ? AND {only} AND {condition} ORDER BY id DESC LIMIT ?"
    selected = select(store, f"id, {COLUMNS}", condition, (floor, top, *values, limit))
    found = [(number, make_row(columns)) for number, *columns in selected]
    if len(found) == limit:
        return FoundRows(found, found[-1][0])
    return FoundRows(found, floor + 1 if floor == top - 1 - MOST_LOOKED_AT else 0)


def last_number(store: Store) -> int:
    """The number of the newest row; 0 without rows."""
    ((number,),) = select(store, "coalesce(max(id), 0)", "")
    return int(number)


def find_number(store: Store, moment: str) -> int:
    """The number below which all rows are older than a moment, as far as rows are in order.

    Raises:
        StateError: the store cannot be read.
    """
    place = find_place(store, moment, range(last_number(store) + 1), "id")
    return max(0, place - 1 - LATE_ROWS)


def find_place(store: Store, moment: str, numbers: range, column: str, *values: object) -> int:
    """The number of the first row that is not older than a moment, if rows are in order.

    Args:
        store: the store.
        moment: in the form of the store.
        numbers: of the rows.
        column: of the number, behind other conditions in SQL.
        values: of those.

    Raises:
        StateError: the store cannot be read.
    """
    query = f"SELECT time FROM audit WHERE {column} = ?"  # noqa: S608  constants
    missing = [("",)]  # past its retention
    return bisect_left(
        numbers, moment, key=lambda each: (store.read(query, *values, each) or missing)[0][0]
    )


def stream_rows(store: Store, where: RowFilter) -> Iterator[AuditRow]:
    """Read all rows that fit, the oldest first, without a transaction between two batches.

    Raises:
        StateError: the store cannot be read.
    """
    condition, values = to_condition(where)
    condition = f"WHERE id > ? AND {condition} ORDER BY id LIMIT ?"
    number = 0
    is_more = True
    while is_more:
        batch = [*select(store, f"id, {COLUMNS}", condition, (number, *values, BATCH_ROWS))]
        yield from (make_row(columns) for _, *columns in batch)
        is_more = len(batch) == BATCH_ROWS
        number = batch[-1][0] if batch else 0


# --- export ------------------------------------------------------------------------------
# Rows as lines of text for other programs: JSON lines, or CSV for spreadsheets.

_FORMULA = frozenset("=+-@＝＋－＠")
_AFTER_SEMICOLON = re.compile(f"(;[\x22' ]*)(?=[{''.join(map(re.escape, sorted(_FORMULA)))}])")


def export_lines(rows: Iterable[AuditRow], *, is_csv: bool) -> Iterator[str]:
    """Write each row as one line without its end; in CSV, the names of the columns come first.

    Raises:
        StateError: a row is damaged, or the store cannot be read.
    """
    is_first = True
    for row in rows:
        fields = as_fields(row)
        if not is_csv:
            yield json.dumps(fields, separators=(",", ":"))
            continue
        if is_first:
            yield COLUMNS.replace(" ", "")
            is_first = False
        fields["findings"] = row.entry.findings
        yield csv_line(fields.values())


def csv_line(values: Iterable[object]) -> str:
    """One line of CSV without its end, safe for a spreadsheet and a terminal."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(map(_make_safe, values))
    return line.getvalue()


def _make_safe(value: object) -> object:
    """Make a value safe for a spreadsheet and a terminal: peers choose names.

    No formula (OWASP, CSV Injection) and no escape sequence. A spreadsheet may also split a line
    at semicolons, so a formula may follow one, in quotes too, which the spreadsheet removes.
    """
    if not isinstance(value, str):
        return value
    text = _AFTER_SEMICOLON.sub(r"\1'", visible(value))
    return f"'{text}" if text.lstrip()[:1] in _FORMULA else text
