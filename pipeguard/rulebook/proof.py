"""The samples of rules, run through the whole scanner: what a rule claims, it must show.

Knows where a sample would stand in a message; knows no files and no packs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pipeguard.core.finding import Confidence, raised
from pipeguard.core.protocol.places import Surface, known_places
from pipeguard.core.rules.rule import View, Written
from pipeguard.core.scanning.rule_partition import home
from pipeguard.rulebook.samples import expand

if TYPE_CHECKING:
    from pipeguard.core.protocol.json_values import JsonValue
    from pipeguard.core.rules.rule import Rule, Sample
    from pipeguard.core.scanning.engine import Engine

# A sample of what acts may say under which name it stands: `sql: DROP TABLE x`.
_NAMED = re.compile(
    r"(command|sql|code|path|paths|file|url|uri|host|branch|name|id|value|content|query|template|"
    r"xml|yaml|filename|expression|user|domain|config|target|endpoint): (.*)",
    re.DOTALL,
)
SEEDS = range(3)  # of a sample that is a recipe: each gives another text
USUAL_PLACE = {
    Surface.TO_SERVER: "call.arguments",
    Surface.TO_CLIENT: "result.text",
    Surface.DEFINITIONS: "tool.description",
}


@dataclass(frozen=True, slots=True)
class SampleFailure:
    """A sample that does not hold.

    Attributes:
        rule: the rule's id.
        surface: where it was tried.
        sample: its text.
        what: what was expected and what came.
    """

    rule: str
    surface: Surface
    sample: str
    what: str


def prove(rule: Rule, engine: Engine, surface: Surface) -> Iterator[SampleFailure]:
    """Try each sample of a rule: its matches and its near misses.

    Args:
        rule: one of the engine's.
        engine: the rule's home (core.scanning.engine).
        surface: as what the samples are judged.
    """
    for sample in rule.matches:
        for text in texts(sample):
            sure = found(rule, engine, surface, text)
            if not sure:
                yield SampleFailure(rule.id, surface, text, "must match, and does not")
            elif max(sure) < rule.confidence:
                what = f"expected {rule.confidence.name.lower()}, found {max(sure).name.lower()}"
                yield SampleFailure(rule.id, surface, text, f"confidence: {what}")
    for sample in rule.passes:
        for text in texts(sample):
            if found(rule, engine, surface, text):
                yield SampleFailure(rule.id, surface, text, "must pass, and does not")


def prove_all(rules: Iterable[Rule], engines: Iterable[Engine]) -> Iterator[SampleFailure]:
    """Try each sample of some rules, on every surface that they are run over."""
    homes = {engine.surface: engine for engine in engines}
    for rule in rules:
        for surface in sorted(rule.surfaces, key=lambda one: one.value):
            yield from prove(rule, homes[home(rule, surface)], surface)


def texts(sample: Sample) -> list[str]:
    """A sample written out: once, or once for each seed."""
    if isinstance(sample, str):
        return [sample]
    return [expand(sample, seed) for seed in SEEDS]


def sample_place(rule: Rule, surface: Surface) -> str:
    """Where a sample of a rule would stand: the usual place, or the first that the rule names."""
    usual = USUAL_PLACE[surface]
    if not rule.places or any(fnmatchcase(usual, glob) for glob in rule.places):
        return usual
    fitting = (place for place in known_places() if fnmatchcase(place, rule.places[0]))
    return next(fitting, rule.places[0])


def frame_value(surface: Surface, text: str, key: str = "text") -> JsonValue:
    """A value as the surface's messages have it, with a sample in it under a key."""
    if surface is Surface.TO_SERVER:
        named = _NAMED.match(text)
        return {named[1]: named[2]} if named and key != "text" else {key: text}
    if surface is Surface.TO_CLIENT:
        return {"content": [{"type": "text", "text": text}]}
    return {"description": text}


def found(rule: Rule, engine: Engine, surface: Surface, text: str) -> list[Confidence]:
    """How sure a rule is of each of its matches in a text, where a sample would stand.

    What a classifier doubts is no less sure here: a sample proves its rule, and is often no more
    than the words that the rule is for.
    """
    place = sample_place(rule, surface)
    key = "command" if View.ACTS in rule.views else "input"
    if View.ACTS not in rule.views and rule.written is Written.KEEP:
        key = "text"
    seen = engine.scan(frame_value(surface, text, key), lambda _: place, surface)
    return [
        raised(match.confidence) if match.doubted else match.confidence
        for match in seen.matches
        if match.rule.id == rule.id
    ]
