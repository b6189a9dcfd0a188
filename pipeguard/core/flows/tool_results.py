"""A result that came back from a tool, kept for a while: what it says, worked out when asked for.

Knows traces of what is private or written for a model; what they mean is for core.flows.ledger.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeguard.core.flows import overlap
from pipeguard.core.flows.tool_labels import Label, Tool
from pipeguard.core.memory import size_of, size_of_all
from pipeguard.core.protocol.strict_json import parse_json
from pipeguard.core.text.document import MessageText
from pipeguard.errors import Refusal

KEPT_OBJECT_BYTES = 512  # of a result beside its frame


class ToolResult:
    """A frame that passed, as bytes until somebody asks for its text.

    For any thread: what is worked out twice is the same.

    Attributes:
        tool: that was called.
        frame: the whole answer.
        since: when it came, in seconds on the session's clock.
        about: the short values of the call.
        size: bytes that all of these take in memory.
        derived: bytes that what was worked out of it takes, about.
    """

    __slots__ = (
        *("_addressed", "_is_marked", "_labels", "_letters", "_secrets", "_small", "_text"),
        *("about", "derived", "frame", "since", "size", "tool"),
    )

    def __init__(self, tool: Tool, frame: bytes, since: float, about: frozenset[str]) -> None:
        self.tool = tool
        self.frame = frame
        self.since = since
        self.about = about
        self.size = KEPT_OBJECT_BYTES + len(frame) + size_of(tool.name) + size_of_all(about)
        self.derived = 0
        self._is_marked: bool | None = None
        self._labels: Label | None = None
        self._text: str | None = None
        self._small: str | None = None
        self._letters: str | None = None
        self._addressed: str | None = None
        self._secrets: dict[str, str] | None = None

    def is_marked(self) -> bool:
        """Whether it says of itself that it is not for everybody, and was not got from outside."""
        marked = self._is_marked
        if marked is None:
            is_public = self.tool.labels & Label.OUTSIDE
            self._is_marked = marked = not is_public and overlap.is_marked(self.text())
        return marked

    def labels(self) -> Label:
        """What its tool does; and that it is not for everybody, where its text tells so.

        It does by saying it, or by telling how people are reached or paid.
        """
        labels = self._labels
        if labels is None:
            is_public = self.tool.labels & Label.OUTSIDE
            labels = self.tool.labels
            if self.is_marked() or (not is_public and overlap.tells_of_people(self.text())):
                labels |= Label.READS_PRIVATE | Label.READS_PERSONAL
            self._labels = labels
        return labels

    def text(self) -> str:
        """Its strings, with single spaces between all words."""
        text = self._text
        if text is None:
            self._text = text = self._noted(text_of(self.frame))
        return text

    def small(self) -> str:
        """The same in small letters."""
        small = self._small
        if small is None:
            self._small = small = self._noted(self.text().lower())
        return small

    def letters(self) -> str:
        """Its letters and digits alone."""
        letters = self._letters
        if letters is None:
            self._letters = letters = self._noted(overlap.letters(self.text()))
        return letters

    def addressed(self) -> str:
        """What in it is written for a model, in small letters; empty where nothing is."""
        addressed = self._addressed
        if addressed is None:
            takes_in = self.tool.labels & Label.TAKES_IN
            addressed = overlap.addressed(self.text()).lower() if takes_in else ""
            self._addressed = self._noted(addressed)
        return addressed

    def looks(self) -> Callable[[str], bool]:
        """What tells that a value of it is a secret."""
        if self.tool.labels & Label.READS_SECRET:
            return overlap.is_secret
        return overlap.is_random

    def secrets(self) -> dict[str, str]:
        """What looks like a secret in it, by its letters and digits alone."""
        secrets = self._secrets
        if secrets is None:
            self._secrets = secrets = overlap.secrets(self.text(), self.looks())
            self.derived += size_of(*secrets, *secrets.values())
        return secrets

    def forget(self) -> None:
        """Keep the frame alone; its text is worked out again where it is asked for."""
        self._text = self._small = self._letters = self._addressed = self._secrets = None
        self.derived = 0

    def _noted(self, text: str) -> str:
        self.derived += size_of(text)
        return text


def text_of(frame: bytes) -> str:
    """The strings of a frame, with single spaces between all words."""
    try:
        value = parse_json(frame)
    except Refusal:
        return ""
    return " ".join(MessageText(value, keyed=False).data.decode("utf-8", "ignore").split())
