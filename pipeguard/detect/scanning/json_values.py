"""Readings of JSON by its strings: what an order or a match is in, without its neighbours.

Knows readings and the strings of JSON in their text; what is in these is judged by others.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeguard.detect.model.cascade import Named, Selection
from pipeguard.detect.model.opener import Stretch
from pipeguard.detect.scanning.origin import Origin
from pipeguard.detect.text.document import MessageText
from pipeguard.detect.text.json_strings import JsonStrings, may_continue
from pipeguard.unicode.folding import Range


class JsonValues:
    """The strings of JSON in the readings of one text."""

    def __init__(self, text: MessageText) -> None:
        """Remember the text; the first question reads it."""
        self._strings = JsonStrings(text)

    def selected(self, data: bytes, stretches: Sequence[Stretch], origin: Origin) -> Selection:
        """The stretches of a reading; of JSON, the parts of its strings that are in each."""
        if not _is_plain(origin) or not self._strings.are_there:
            return Selection(data, stretches)
        parts: dict[Stretch, None] = {}
        wholes: list[Named] = []
        for stretch in stretches:
            _, low, high, _ = origin.trace(stretch.start, stretch.end)
            within = self._strings.within(low, high)
            spans = (_in_reading(span, origin) for span in within)
            parts |= dict.fromkeys(Stretch(*span, stretch.score) for span in spans)
            names = self._strings.names(low, high)
            if within and not may_continue(within, names):
                wholes.append(Named(stretch, b" ".join(names).decode("utf-8", "ignore")))
            else:
                parts[stretch] = None
        return Selection(data, [*parts], wholes)

    def around(self, start: int, end: int, origin: Origin) -> Range | None:
        """The string of JSON that contains a range of a reading, and says much more.

        None if there is none. One that says little more is a label, as of a button.
        """
        if not _is_plain(origin) or not self._strings.are_there:
            return None
        _, low, high, _ = origin.trace(start, end)
        span = self._strings.around(low, high)
        if span is None or 2 * (high - low) >= span[1] - span[0]:
            return None
        return _in_reading(span, origin)


def _is_plain(origin: Origin) -> bool:
    """True for a reading of the text itself, folded or not."""
    return origin.chain in ("text", "folded") and origin.outer is None


def _in_reading(span: Range, origin: Origin) -> Range:
    """Where a range of the text is in a reading of it."""
    unfolding = origin.unfolding
    return span if unfolding is None else (unfolding.place(span[0]), unfolding.place(span[1]))
