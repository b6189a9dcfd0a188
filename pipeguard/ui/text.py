"""Pages as HTML: every text from outside is drawn in a box of its own, with all that hides in it.

Jinja escapes what it inserts. A text of a server, a model, a call or a project's file goes through
`foreign`, which also draws characters that nobody sees and cuts what is long.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from pipeguard.unicode.display import cut, visible, visible_lines

if TYPE_CHECKING:
    from collections.abc import Iterable

NAME_CHARS = 100  # of a name in a sentence
TEXT_CHARS = 4000  # of a text in a box
_DRAWN = re.compile(r"⟨U\+[0-9A-F]{4,6}(?: .)?⟩")  # as `visible` writes it


def foreign(text: str, limit_chars: int = NAME_CHARS) -> Markup:
    """A name or a few words from outside, within a sentence of ours."""
    return Markup('<bdi class="said">{}</bdi>').format(
        _draw(visible(text[: limit_chars + 1]), limit_chars)
    )


def sentence(template: str, **values: object) -> Markup:
    """A sentence of ours with values in it; those that are no markup are escaped.

    Args:
        template: a constant, never a text from outside.
        values: of its fields.
    """
    return Markup(template).format(**values)  # noqa: S704  see above


def foreign_text(text: str, marks: Iterable[str] = (), limit_chars: int = TEXT_CHARS) -> Markup:
    """A text from outside, for a box of its own.

    Args:
        text: the text.
        marks: passages of it that are marked with their numbers, from 1.
        limit_chars: what is longer is cut.
    """
    drawn = _draw(visible_lines(text[: limit_chars + 1]), limit_chars)
    for number, passage in enumerate(marks, 1):
        whole = _draw(visible_lines(passage), limit_chars)
        label = Markup('<mark>{}</mark><span class="n"><span class="hid">mark </span>{}</span>')
        marked = label.format(whole, number) if whole else ""
        drawn = drawn.replace(whole, marked, 1) if whole else drawn
    return drawn


def _draw(shown: str, limit_chars: int) -> Markup:
    """Escape a visible text, and set apart what stands for a character that nobody sees."""
    escaped = str(escape(cut(shown, limit_chars)))
    return Markup(_DRAWN.sub(lambda m: f'<span class="cp">{m[0]}</span>', escaped))  # noqa: S704  escaped above


def when(moment: str) -> Markup:
    """A time of the store (ISO 8601, UTC), as the user's clock shows it."""
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return Markup("<span>at a time that is not known</span>")
    local = parsed.replace(tzinfo=parsed.tzinfo or UTC).astimezone()
    is_today = local.date() == datetime.now().astimezone().date()
    shown = local.strftime("%H:%M:%S" if is_today else "%-d %B, %H:%M")
    return Markup('<time datetime="{}">{}</time>').format(
        local.isoformat(timespec="seconds"), shown
    )


def size(count: float | None) -> str:
    """A number of bytes; empty if it is not known."""
    if count is None:
        return ""
    if count < 1000:
        return f"{count:.0f} B"
    return f"{count / 1000:.1f} KB" if count < 10**6 else f"{count / 10**6:.1f} MB"


@cache
def environment() -> Environment:
    """The templates, with the filters of this module."""
    made = Environment(
        loader=PackageLoader("pipeguard.ui", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(foreign=foreign, foreign_text=foreign_text, when=when, size=size)
    return made


def render(template: str, **values: object) -> str:
    """A page from its template."""
    return environment().get_template(template).render(**values)
