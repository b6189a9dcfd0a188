"""Proves rules by their samples, which run through the whole scanner.

Knows the place in a message that a sample is tried at; knows no files and no packs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import chain
from typing import TYPE_CHECKING

from pipeguard.detect.rules.rule import View, Written
from pipeguard.detect.scanning import rating, rule_groups, surroundings
from pipeguard.firewall.finding import Confidence, raise_confidence
from pipeguard.firewall.protocol.places import Surface, find_places
from pipeguard.records import NamedTuple
from pipeguard.rulebook.samples import texts

if TYPE_CHECKING:
    from pipeguard.detect.rules.rule import Rule
    from pipeguard.detect.scanning.engine import Engine
    from pipeguard.firewall.protocol.json_values import JsonValue

# A sample for the view `acts` may name its argument: `sql: DROP TABLE x`.
_NAMED = re.compile(
    r"(command|sql|code|path|paths|file|url|uri|host|branch|name|id|value|content|query|template|"
    r"xml|yaml|filename|expression|user|domain|config|target|endpoint): (.*)",
    re.DOTALL,
)
USUAL_PLACE = {
    Surface.TO_SERVER: "call.arguments",
    Surface.TO_CLIENT: "result.text",
    Surface.DEFINITIONS: "tool.description",
}


class SampleFailure(NamedTuple):
    """A sample that its rule does not judge as it should.

    Attributes:
        rule: the rule's id.
        surface: the sample was judged as a text of it.
        sample: its text.
        what: the expected and the actual outcome.
    """

    rule: str
    surface: Surface
    sample: str
    what: str


def prove(rule: Rule, engine: Engine, surface: Surface) -> Iterator[SampleFailure]:
    """Try each sample of a rule, those that must match and those that must pass.

    Args:
        rule: one of the engine's.
        engine: it runs the rule (detect.scanning.first_look).
        surface: the samples are judged as texts of it.
    """
    for text in chain.from_iterable(map(texts, rule.matches)):
        sure = confidences(rule, engine, surface, text)
        if not sure:
            yield SampleFailure(rule.id, surface, text, "must match, but does not")
        elif max(sure) < rule.confidence:
            what = f"expected {rule.confidence.name.lower()}, found {max(sure).name.lower()}"
            yield SampleFailure(rule.id, surface, text, f"confidence: {what}")
    for text in chain.from_iterable(map(texts, rule.passes)):
        if is_match(rule, engine, surface, text):
            yield SampleFailure(rule.id, surface, text, "must not match, but does")


def prove_all(rules: Iterable[Rule], engines: Iterable[Engine]) -> Iterator[SampleFailure]:
    """Try each sample of some rules, on each of their surfaces."""
    homes = {engine.surface: engine for engine in engines}
    for rule in rules:
        for surface in sorted(rule.surfaces, key=lambda surface: surface.value):
            yield from prove(rule, homes[rule_groups.choose_engine(rule, surface)], surface)


def is_match(rule: Rule, engine: Engine, surface: Surface, text: str) -> bool:
    """True if a rule finds more in a text than matches that `unless` may have lowered to notes."""
    sure, data = confidences(rule, engine, surface, text), text.encode()
    is_note = max(sure, default=None) is Confidence.LOW
    return bool(sure) and not (
        is_note and surroundings.find_exception(rule.unless, data, (0, len(data)))
    )


def sample_place(rule: Rule, surface: Surface) -> str:
    """The place at which a sample is tried: the usual one, or the rule's first."""
    usual = USUAL_PLACE[surface]
    if not rule.places or any(fnmatchcase(usual, glob) for glob in rule.places):
        return usual
    return find_places(rule.places[0])[0]


def frame_value(surface: Surface, text: str, key: str = "text") -> JsonValue:
    """A JSON value as in messages of a surface, with a sample under a key."""
    if surface is Surface.TO_SERVER:
        named = _NAMED.match(text)
        return {named[1]: named[2]} if named and key != "text" else {key: text}
    if surface is Surface.TO_CLIENT:
        return {"content": [{"type": "text", "text": text}]}
    return {"description": text}


def confidences(rule: Rule, engine: Engine, surface: Surface, text: str) -> list[Confidence]:
    """The confidence of each match of a rule in a text, at the place of a sample.

    The doubt of a classifier is undone: a sample proves its rule, and often consists of nothing but
    the words that the rule is for.
    """
    place = sample_place(rule, surface)
    usual = "text" if rule.written is Written.KEEP else "input"
    key = "command" if View.ACTS in rule.views else usual
    seen = engine.scan(frame_value(surface, text, key), lambda _: place, surface)
    return [
        raise_confidence(match.confidence) if match.took(rating.DOUBTED) else match.confidence
        for match in seen.matches
        if match.rule.id == rule.id and not match.is_sample
    ]
