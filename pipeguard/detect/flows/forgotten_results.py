"""What a ledger forgot before its time, as far as that is judged: which tools gave it, until when.

What a call sends cannot be looked up in it any more, so that whatever a call sends may be of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import NamedTuple

from pipeguard.detect.flows.leak import PRIVATE_OUT, UNTRUSTED_ACTS, Leak
from pipeguard.detect.flows.tool_labels import CHANGES, PRIVATE, Label, Tool
from pipeguard.detect.flows.tool_results import ToolResult
from pipeguard.firewall.finding import Confidence, Severity

MOST_TOOLS = 64  # all others are one
OTHER_TOOLS = "other tools"
LEAST_CHARS = 16  # letters and digits that leave in all, or act, before that may be a leak


class ForgottenSource(NamedTuple):
    """What a call may repeat of what was forgotten.

    Attributes:
        tool: the name of the tool that gave it.
        is_private: True where it may be private; else a third party may have written it.
    """

    tool: str
    is_private: bool

    def leak_through(self, tool: Tool) -> Leak:
        """What is said of a call of a tool: sure, where it is known what the tool does."""
        rule = PRIVATE_OUT if self.is_private else UNTRUSTED_ACTS
        confidence = Confidence.HIGH if tool.labels else Confidence.MEDIUM
        note = f"what {self.tool!r} gave is forgotten for want of memory, and this may be of it"
        return Leak(rule, Severity.HIGH, confidence, self.tool, note)


class ForgottenResults:
    """The tools whose results were forgotten while they still mattered.

    For one thread at a time: the lock of its ledger guards it.
    """

    def __init__(self) -> None:
        self._tools: dict[tuple[str, str], Label] = {}  # by `Tool.key`, with what they do
        self._until = -inf
        self._passed_chars = 0  # since then, in calls that were not stopped

    def __bool__(self) -> bool:
        return bool(self._tools)

    def add(self, results: Iterable[ToolResult], seconds: float) -> None:
        """These are forgotten, each of which would have mattered for so many seconds."""
        for result in results:
            key, labels = result.tool.key, _as_source(result.tool.labels)
            if key not in self._tools and len(self._tools) >= MOST_TOOLS:
                key = "", OTHER_TOOLS
            self._tools[key] = self._tools.get(key, Label.NONE) | labels
            self._until = max(self._until, result.since + seconds)

    def source_of(self, tool: Tool, chars: int, now: float) -> ForgottenSource | None:
        """What a call may repeat; None for nothing that matters, or too little of it.

        Args:
            tool: that is called.
            chars: letters and digits that it is given.
            now: seconds on the session's clock.
        """
        if now > self._until:
            self._tools.clear()
            self._passed_chars = 0
            return None
        source = self._matters_to(tool)
        if source is None:
            return None
        if self._passed_chars + chars < LEAST_CHARS:
            self._passed_chars += chars
            return None
        return source

    def _matters_to(self, tool: Tool) -> ForgottenSource | None:
        others = [(key[1], labels) for key, labels in self._tools.items() if key != tool.key]
        if tool.labels & Label.SENDS:
            private = [name for name, labels in others if labels & PRIVATE]
            if private:
                return ForgottenSource(private[0], is_private=True)
        if not tool.labels or tool.labels & (CHANGES | Label.SENDS):
            foreign = [name for name, labels in others if labels & Label.TAKES_IN]
            if foreign:
                return ForgottenSource(foreign[0], is_private=False)
        return None


def _as_source(labels: Label) -> Label:
    """What is known of a text that cannot be read any more.

    Where anybody can have it, it is public; any other may have said that it is private.
    """
    return labels if labels & Label.OUTSIDE else labels | Label.READS_PRIVATE
