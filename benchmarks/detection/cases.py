"""A case: one text, and the action that it should get. Knows no files and no disguises."""

from dataclasses import dataclass
from enum import Enum

from benchmarks.detection.json_tree import Object


class Split(Enum):
    """The uses of a case."""

    TUNED = "tuned"  # rules may be worked on with it
    HELD = "held"  # only measures


class Expect(Enum):
    """The action that a case should get."""

    BLOCK = "block"
    WARN = "warn"  # at least a warning
    QUIET = "quiet"


class Way(Enum):
    """The part of a conversation that contains a case."""

    RESULT = "result"
    ARGUMENTS = "arguments"
    DEFINITION = "definition"
    FLOW = "flow"


class CaseError(Exception):
    """A case file is wrong; the message names the file, the case and the error."""


@dataclass(frozen=True, slots=True)
class Case:
    """One text, with the action that it should get.

    Attributes:
        id: unique in its split.
        split: what it may be used for.
        kind: the class of attack, or the kind of innocent text.
        expect: the action that it should get.
        language: ISO 639-1, or `zxx` for none.
        way: the part of a conversation that contains it.
        body: what is sent, before secrets are minted: `{method, result}`, `{tool, arguments}`,
            `{tools}`, `{server}` or `{tools, steps}`.
        views: the disguises in which it is played.
    """

    id: str
    split: Split
    kind: str
    expect: Expect
    language: str
    way: Way
    body: Object
    views: tuple[str, ...] = ("text",)

    @property
    def innocent(self) -> bool:
        """True if no rule should find anything in it."""
        return self.expect is Expect.QUIET
