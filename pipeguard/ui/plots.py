"""Plots of numbers, as SVG. A label is a sentence of ours with the figures."""

from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT = 120, 28  # of a sparkline
BARS_BASE = 38.5
_SPARK = Markup(
    '<svg class="spark" viewBox="0 0 120 28" preserveAspectRatio="none" role="img"'
    ' aria-label="{}">{}{}</svg>'
)
_PATH = Markup('<path class="{}" d="{}" vector-effect="non-scaling-stroke"/>')
_BARS = Markup(
    '<svg viewBox="0 0 {} 48" preserveAspectRatio="none" role="img" aria-label="{}">{}{}{}</svg>'
)


def sparkline(values: Sequence[float | None], label: str) -> Markup:
    """Draw a line through some values, the newest at the right; dotted if a value is unknown."""
    most = max((value for value in values if value is not None), default=0) or 1
    step = WIDTH / max(1, len(values) - 1)
    line, gaps, is_drawn = "", "", False
    for at, value in enumerate(values):
        x = round(at * step, 1)
        if value is None:
            gaps += f"M{x} {HEIGHT / 2}h{step:.1f}"
        else:
            y = round(HEIGHT - 2 - value / most * (HEIGHT - 4), 1)
            line += f"{'L' if is_drawn else 'M'}{x} {y}"
        is_drawn = value is not None
    dotted = _PATH.format("none", gaps) if gaps else Markup("")
    return _SPARK.format(label, _PATH.format("line", line), dotted)


def bars(values: Sequence[float], stopped: Sequence[float], label: str) -> Markup:
    """Draw a bar for each value; below the line, a mark for each that stopped something."""
    most = max(values, default=0) or 1
    width = 2 * len(values)
    heights = [value / most * (BARS_BASE - 1.5) for value in values]
    drawn = "".join(f"M{2 * i + 1} 38v-{h:.1f}" for i, h in enumerate(heights) if h)
    marks = "".join(f"M{2 * i + 1} 40v7" for i, count in enumerate(stopped) if count)
    base = _PATH.format("base", f"M0 {BARS_BASE}h{width}")
    return _BARS.format(
        width, label, base, _PATH.format("bars", drawn), _PATH.format("bars stopped", marks)
    )
