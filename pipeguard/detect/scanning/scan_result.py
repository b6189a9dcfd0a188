"""The result of a scan of one value: matches, and passages that were left unread.

Also how matches of one text support or repeat each other. Knows rules; runs none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pipeguard.detect.rules.rule import Rule
from pipeguard.firewall.finding import Confidence, raise_confidence
from pipeguard.firewall.protocol.json_values import Path


class StringSpan(NamedTuple):
    """A part of a string.

    Attributes:
        path: of the string, from the scanned value down.
        start: of the first character.
        end: after the last character.
    """

    path: Path
    start: int
    end: int


class Match(NamedTuple):
    """A match of a rule, located in a string.

    Attributes:
        rule: the rule.
        confidence: after its checks.
        view: the chain of readings, as `text` or `base64>folded`.
        path: of the string that contains the match, from the scanned value down.
        start: where the match begins in that string, in code points.
        end: after its last character.
        exact: True if the span is the match itself, not the whole stretch that it was decoded from.
        paths: of all strings that contain parts of the match, if there are several.
        excerpt: masked.
        is_doubted: True if a classifier takes the words around a pattern for no order.
        is_sample: True for a secret that documentation prints, or that is evidently made up: it
            counts only where it leaves (detect.flows.way_out).
        cuts: for an order that a classifier found in plain sight, what goes if it is cut out.
        is_data: True for a value in source code or data (detect.model.data_literals).
    """

    rule: Rule
    confidence: Confidence
    view: str
    path: Path
    start: int
    end: int
    exact: bool
    paths: tuple[Path, ...]
    excerpt: str
    is_doubted: bool = False
    is_sample: bool = False
    cuts: tuple[StringSpan, ...] = ()
    is_data: bool = False


class ScanResult(NamedTuple):
    """The result of a scan of one value.

    Attributes:
        matches: what the rules found.
        has_undecoded: True if more is encoded in it than is decoded for one message.
        is_unfinished: True if the text is made so that scanning all of it would take too long.
        unread_passages: what a classifier should have read beyond its budget for one message.
    """

    matches: list[Match]
    has_undecoded: bool
    is_unfinished: bool
    unread_passages: list[Match]


NOTHING_FOUND = ScanResult([], has_undecoded=False, is_unfinished=False, unread_passages=[])


def with_support(
    matches: list[Match], rules_with_several_values: set[str], reported_orders: set[int]
) -> list[Match]:
    """Raise the confidence of matches that others of the same text support.

    Args:
        matches: of one text; changed in place.
        rules_with_several_values: ids of rules that ask for several values and found them.
        reported_orders: indices of matches that report an order instead of giving one.
    """
    for index, match in enumerate(matches):
        if match.rule.id in rules_with_several_values:
            matches[index] = match._replace(confidence=raise_confidence(match.confidence))
        elif (
            match.rule.model
            and match.confidence is Confidence.MEDIUM
            and index not in reported_orders
            and not match.is_data
            and _has_second_sign(match, matches)
        ):
            matches[index] = match._replace(confidence=Confidence.HIGH)
    return matches


def _has_second_sign(match: Match, matches: Sequence[Match]) -> bool:
    """True if a pattern matched in the same string: two weak signs are a strong one."""
    return any(
        other.path == match.path
        and other.confidence >= Confidence.MEDIUM
        and not (other.rule.model or other.rule.is_private or other.is_doubted or other.is_data)
        for other in matches
    )


def without_repeats(matches: Sequence[Match]) -> Iterator[Match]:
    """The matches without secrets of a rule that has the same secret exactly, in another reading.

    For a match that is not exact the whole string is redacted.
    """
    exact: dict[tuple[str, Path], list[Match]] = {}
    for match in matches:
        if match.exact and match.rule.is_private:
            exact.setdefault((match.rule.id, match.path), []).append(match)
    for match in matches:
        others = () if match.exact else exact.get((match.rule.id, match.path), ())
        if not any(
            other.start <= match.start
            and match.end <= other.end
            and other.confidence >= match.confidence
            for other in others
        ):
            yield match
