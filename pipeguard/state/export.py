"""Rows of the audit as lines of text for other programs: JSON lines, or CSV for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING

from pipeguard.state.audit import COLUMNS, as_fields
from pipeguard.unicode.display import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeguard.state.audit import AuditRow

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
        yield _csv_line([_make_safe(value) for value in fields.values()])


def _csv_line(values: list[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


def _make_safe(value: object) -> object:
    """Make a value safe for a spreadsheet and a terminal: peers choose names.

    No formula (OWASP, CSV Injection) and no escape sequence. A spreadsheet may also split a line
    at semicolons, so a formula may follow one, in quotes too, which the spreadsheet removes.
    """
    if not isinstance(value, str):
        return value
    text = _AFTER_SEMICOLON.sub(r"\1'", visible(value))
    return f"'{text}" if text.lstrip()[:1] in _FORMULA else text
