"""Options without a value, and the output of a command's value. Not a command itself.

`--json` prints the value itself. Text for people is made from it.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import click
from click.decorators import FC

from pipeguard.unicode.display import visible

_CHUNK = 500  # rows whose widths are known before the first is shown
_MOST_CHARS = 40  # of a column; a longer cell moves its row's others
_Value = TypeVar("_Value")
Fields = dict[str, Any]  # one object of JSON


def flag(name: str, text: str, parameter: str = "") -> Callable[[FC], FC]:
    """An option without a value: its name, its help, and its parameter if that differs."""
    return click.option(name, *filter(None, [parameter]), is_flag=True, help=text)


json_option = flag("--json", "As JSON, for programs.", "as_json")


def emit(
    value: _Value,
    render: Callable[[_Value], str | Iterable[str]],
    *,
    as_json: bool,
    empty: str = "",
    code: int | None = None,
) -> None:
    """Print a value as JSON, or as the text that a renderer makes of it.

    Args:
        value: JSON.
        render: makes a text or lines for people.
        as_json: print JSON.
        empty: the message on standard error if the renderer makes no text.
        code: exit with this status afterwards.
    """
    if as_json:
        click.echo(json.dumps(value, indent=2))
    else:
        text = render(value)
        is_empty = True
        lines = filter(None, (text,)) if isinstance(text, str) else text
        for line in lines:
            click.echo(line)
            is_empty = False
        if is_empty and empty:
            click.echo(empty, err=True)
    if code is not None:
        raise SystemExit(code)


def columns(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a line of titles and one for each row, as they arrive; no line without a row."""
    widths = [len(title) for title in titles]
    rest = iter(rows)
    is_first = True
    while chunk := [[visible(cell) for cell in row] for row in islice(rest, _CHUNK)]:
        for column, cells in enumerate(zip(*chunk, strict=True)):
            longest = max(map(len, cells))
            widths[column] = max(widths[column], min(longest, _MOST_CHARS))
        for row in ([list(titles)] if is_first else []) + chunk:
            padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            yield "  ".join(padded).rstrip()
        is_first = False


def colour_change(line: str) -> str:
    """Colour a line of a diff."""
    colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
    return click.style(line, fg=colour) if colour else line
