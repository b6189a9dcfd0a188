"""Pages as HTML: each text from outside gets a box of its own, with hidden characters visible.

Jinja escapes what it inserts. A text of a server, a model, a call or a project's file goes through
`foreign`, which also draws invisible characters and cuts long texts.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from pipeguard.state import calls, exemption
from pipeguard.unicode.display import cut, visible, visible_lines

NAME_CHARS = 100  # of a name in a sentence
TEXT_CHARS = 4000  # of a text in a box
_MARK = Markup('<mark>{}</mark><span class="n"><span class="hid">mark&nbsp;</span>{}</span>')
_DRAWN = re.compile(r"⟨U\+[0-9A-F]{4,6}(?: .)?⟩")  # as `visible` writes it


def foreign(text: str, limit_chars: int = NAME_CHARS) -> Markup:
    """Draw a name or a few words from outside, within a sentence of ours."""
    return Markup('<bdi class="said">{}</bdi>').format(show_own(text, limit_chars))


def sentence(template: str, **values: object) -> Markup:
    """Fill values into a sentence of ours; those that are not markup are escaped.

    Args:
        template: a constant, never a text from outside.
        values: the values of its fields.
    """
    return Markup(template).format(**values)  # noqa: S704  see above


def foreign_text(text: str, marks: Iterable[str] = (), limit_chars: int = TEXT_CHARS) -> Markup:
    """Draw a text from outside, for a box of its own.

    Args:
        text: the text.
        marks: passages to mark with their numbers, from 1.
        limit_chars: the length at which the text is cut.
    """
    shown = cut(visible_lines(text[: limit_chars + 1]), limit_chars)
    drawn, end = Markup(""), 0
    passages = [
        (shown.find(passage), number, passage)
        for number, passage in enumerate(map(visible_lines, marks), 1)
        if passage and passage in shown
    ]
    for start, number, passage in sorted(passages):
        if start >= end:
            drawn += _draw(shown[end:start]) + _MARK.format(_draw(passage), number)
            end = start + len(passage)
    return drawn + _draw(shown[end:])


def _draw(shown: str) -> Markup:
    """Escape a visible text, and mark the escapes that represent invisible characters."""
    escaped = str(escape(shown))
    return Markup(_DRAWN.sub(lambda m: f'<span class="cp">{m[0]}</span>', escaped))  # noqa: S704  escaped above


def when(moment: str, *, with_ms: bool = False, age_seconds: str = "0") -> Markup:
    """Draw a stored time (ISO 8601, UTC), or the one `age_seconds` before it, in local time."""
    try:
        parsed = datetime.fromisoformat(moment) - timedelta(seconds=float(age_seconds))
    except (ValueError, OverflowError):
        return Markup("<span>at a time that is not known</span>")
    local = parsed.replace(tzinfo=parsed.tzinfo or UTC).astimezone()
    is_today = local.date() == datetime.now().astimezone().date()
    written = local.strftime("%H:%M:%S" if is_today else "%-d %B, %H:%M")
    if with_ms and is_today:
        written += f".{local.microsecond // 1000:03d}"
    return Markup('<time datetime="{}">{}</time>').format(
        local.isoformat(timespec="seconds"), written
    )


def show_own(text: str, limit_chars: int = NAME_CHARS) -> Markup:
    """Draw a name that the user gave, or one of ours, with its hidden characters visible."""
    return _draw(cut(visible(text[: limit_chars + 1]), limit_chars))


def duration(milliseconds: float) -> str:
    """Format a duration."""
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def size(count: float | None) -> str:
    """Format a number of bytes; empty if it is unknown."""
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
    made.filters.update(foreign=foreign, foreign_text=foreign_text, shown=show_own)
    made.filters.update(when=when, size=size, duration=duration, place=exemption.describe_place)
    made.filters.update(outcome=calls.find_outcome)
    return made


def render(template: str, **values: object) -> str:
    """Render a page from its template."""
    return environment().get_template(template).render(**values)


def draw_content(card: object, definitions: Sequence[object]) -> Markup:
    """Draw all that an answer to a card lets pass, uncut."""
    drawn = environment().get_template("evidence.html").module
    content: Markup = drawn.content(card, definitions)  # type: ignore[attr-defined]  # a macro
    return content
