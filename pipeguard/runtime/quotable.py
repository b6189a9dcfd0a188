"""Whether what a server chose, a path or a host, may stand in PipeGuard's own words to a model.

What a server answers is judged before a model reads it. A path that it names on standard error, or
a host that it asks for, comes to the model by PipeGuard's note alone, so that is judged here.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from pipeguard.core.lazy_regex import lazy_regex
from pipeguard.core.protocol.places import Surface

if TYPE_CHECKING:
    from pipeguard.core.protocol.json_values import JsonValue
    from pipeguard.core.session.guard import Engines

MOST_WORDS = 6  # of one part of a path; a longer one is a sentence
MOST_PIECES = 5  # between spaces, of all of it
MOST_KEPT = 256  # texts whose judgement is remembered
_PARTS = lazy_regex(r"[/\\]+")
_BETWEEN_WORDS = lazy_regex(r"[\W_]+")
_WORD = lazy_regex(r"[^\W\d_]{2,}")


class QuotableTexts:
    """Judges such texts, with engines of its own that are made at the first; for any thread.

    Args:
        compiled: the rules.
    """

    def __init__(self, compiled: Engines) -> None:
        self._engines = compiled.over(Surface.TO_CLIENT)
        self._is_cloned = False
        self._lock = Lock()
        self._known: dict[str, bool] = {}

    def __call__(self, text: str) -> bool:
        """Whether it says nothing to a model: it is no sentence, and no rule finds anything."""
        is_long = len(text.split()) > MOST_PIECES
        if is_long or any(len(_WORD.findall(part)) > MOST_WORDS for part in _PARTS.split(text)):
            return False
        with self._lock:
            if text not in self._known:
                if len(self._known) >= MOST_KEPT:
                    self._known.clear()
                self._known[text] = self._says_nothing(text)
            return self._known[text]

    def _says_nothing(self, text: str) -> bool:
        if not self._is_cloned:
            self._engines = [engine.clone() for engine in self._engines]
            self._is_cloned = True
        readings: JsonValue = [text, _BETWEEN_WORDS.sub(" ", text)]
        return not any(
            engine.scan(readings, lambda _: "result.text", Surface.TO_CLIENT).matches
            for engine in self._engines
        )
