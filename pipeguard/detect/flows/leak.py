"""Leaks, and the rules that report them: values only."""

from pipeguard.firewall.finding import Confidence, Severity
from pipeguard.records import NamedTuple

SECRET_OUT = "flows.secret-out"  # noqa: S105  a rule's id
PRIVATE_OUT = "flows.private-out"
UNTRUSTED_ACTS = "flows.untrusted-acts"
ORDERED = "flows.ordered"


class OrderPassage(NamedTuple):
    """The words of a result that ordered a call.

    Attributes:
        text: the strings of the result.
        start: of the words in it.
        end: of them.
    """

    text: str
    start: int
    end: int


class Leak(NamedTuple):
    """A leak; the policy decides on the action.

    Attributes:
        rule: the id of the rule, as `flows.secret-out`.
        severity: of the leak.
        confidence: of the finding.
        source: the tool that it came from.
        note: a description, without any of the text.
        result: the `ToolResult` that it came from; None if that is forgotten.
        passage: the passage of it that ordered the call; else None.
    """

    rule: str
    severity: Severity
    confidence: Confidence
    source: str
    note: str
    result: object = None
    passage: OrderPassage | None = None
