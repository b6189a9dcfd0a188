"""Options without a value, and the output of a command's value. Not a command itself.

`--json` prints the value itself. Text for people is made from it.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import click
from click.decorators import FC

from pipeguard.unicode.display import pluralize, visible

_CHUNK = 500  # rows whose widths are known before the first is shown
_MOST_CHARS = 40  # of a column; a longer cell moves its row's others
_Value = TypeVar("_Value")
Fields = dict[str, Any]  # one object of JSON


def flag(name: str, text: str, parameter: str = "") -> Callable[[FC], FC]:
    """An option without a value: its name, its help, and its parameter if that differs."""
    return click.option(name, *filter(None, [parameter]), is_flag=True, help=text)


def value_option(
    name: str, metavar: str, text: str, parameter: str = "", **more: Any
) -> Callable[[FC], FC]:
    """An option with a value; as `flag`."""
    return click.option(name, *filter(None, [parameter]), metavar=metavar, help=text, **more)


def choice(
    name: str, words: Iterable[str], text: str, parameter: str = "", **more: Any
) -> Callable[[FC], FC]:
    """An option with one of several values; as `flag`."""
    names = filter(None, [name, parameter])
    return click.option(*names, type=click.Choice([*words]), help=text, **more)


def offer_json(text: str) -> Callable[[FC], FC]:
    """The option by which `emit` prints the value itself."""
    return click.option(
        "--json",
        is_flag=True,
        help=text,
        expose_value=False,
        callback=lambda context, _, value: context.meta.update(json=value),
    )


json_option = offer_json("As JSON, for programs.")


def wants_json() -> bool:
    """True if the current command was given `--json`."""
    return bool(click.get_current_context().meta.get("json"))


def emit(
    value: _Value,
    render: Callable[[_Value], str | Iterable[str]],
    *,
    empty: str = "",
    code: int | None = None,
) -> None:
    """Print a value as JSON if `--json` was given, or as the text that a renderer makes of it.

    Args:
        value: JSON.
        render: makes a text or lines for people.
        empty: the message on standard error if the renderer makes no text.
        code: exit with this status afterwards.
    """
    if wants_json():
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


def render(name: str, fields: Fields, **filters: Callable[..., object]) -> str:
    """Fill in a template of a screen for people, with more filters of the screen's own."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    screens = Environment(
        loader=PackageLoader("pipeguard.cli"),
        autoescape=False,  # noqa: S701  a terminal: names are made visible
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    screens.filters.update(visible=visible, plural=pluralize, style=click.style, **filters)
    return screens.get_template(f"{name}.jinja").render(fields).rstrip("\n")


def colour_change(line: str) -> str:
    """Colour a line of a diff."""
    colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
    return click.style(line, fg=colour) if colour else line
