"""A result that came back from a tool, kept for a while: what it says, worked out when asked for.

Knows traces of what is private or written for a model; what they mean is for core.flows.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeguard.core import traces
from pipeguard.core.labels import Label, Tool
from pipeguard.core.message import parse_json
from pipeguard.core.text import Text
from pipeguard.errors import Refusal


class Kept:
    """A frame that passed, as bytes until somebody asks for its text."""

    __slots__ = (
        *("_addressed", "_is_marked", "_labels", "_letters", "_secrets", "_small", "_text"),
        *("about", "frame", "since", "tool"),
    )

    def __init__(self, tool: Tool, frame: bytes, since: float, about: frozenset[str]) -> None:
        self.tool = tool
        self.frame = frame
        self.since = since
        self.about = about
        self._is_marked: bool | None = None
        self._labels: Label | None = None
        self._text: str | None = None
        self._small: str | None = None
        self._letters: str | None = None
        self._addressed: str | None = None
        self._secrets: dict[str, str] | None = None

    def is_marked(self) -> bool:
        """Whether it says of itself that it is not for everybody, and was not got from outside."""
        if self._is_marked is None:
            is_public = self.tool.labels & Label.OUTSIDE
            self._is_marked = not is_public and traces.is_marked(self.text())
        return self._is_marked

    def labels(self) -> Label:
        """What its tool does; and that it is not for everybody, where its text tells so.

        It does by saying it, or by telling how people are reached or paid.
        """
        if self._labels is None:
            is_public = self.tool.labels & Label.OUTSIDE
            self._labels = self.tool.labels
            if self.is_marked() or (not is_public and traces.tells_of_people(self.text())):
                self._labels |= Label.READS_PRIVATE | Label.READS_PERSONAL
        return self._labels

    def text(self) -> str:
        """Its strings, with single spaces between all words."""
        if self._text is None:
            self._text = text_of(self.frame)
        return self._text

    def small(self) -> str:
        """The same in small letters."""
        if self._small is None:
            self._small = self.text().lower()
        return self._small

    def letters(self) -> str:
        """Its letters and digits alone."""
        if self._letters is None:
            self._letters = traces.letters(self.text())
        return self._letters

    def addressed(self) -> str:
        """What in it is written for a model, in small letters; empty where nothing is."""
        if self._addressed is None:
            takes_in = self.tool.labels & Label.TAKES_IN
            self._addressed = traces.addressed(self.text()).lower() if takes_in else ""
        return self._addressed

    def looks(self) -> Callable[[str], bool]:
        """What tells that a value of it is a secret."""
        if self.tool.labels & Label.READS_SECRET:
            return traces.is_secret
        return traces.is_random

    def secrets(self) -> dict[str, str]:
        """What looks like a secret in it, by its letters and digits alone."""
        if self._secrets is None:
            self._secrets = traces.secrets(self.text(), self.looks())
        return self._secrets


def text_of(frame: bytes) -> str:
    """The strings of a frame, with single spaces between all words."""
    try:
        value = parse_json(frame)
    except Refusal:
        return ""
    return " ".join(Text(value, keyed=False).data.decode("utf-8", "ignore").split())
