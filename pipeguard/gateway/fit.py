"""The fit of a tool to a request: the share of it that the tool has words for.

Knows a request's concepts and a tool's stems, and no ranking. A request such as "delete the file"
is an order. A tool fits it that has words for what is done and for what it is done to: another
tool for files does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

from pipeguard.gateway.concepts import DETERMINERS, Concept, ToolStems, find_worth
from pipeguard.gateway.neighbours import STOP_WORDS

LEAST_WORTH = 0.39  # of a word that counts: a synonym does, few neighbours do
LEAST_FIT = 0.24  # of the best of the first tools; below, perhaps none is meant
NAMED_FIT = 0.6  # of a fit, times the share of the tool's name that the request explains
PARTIAL_FIT = 0.4  # of a tool that lacks an order's action, or all of its objects
READS = frozenset(("get", "list", "read", "show", "view"))
# After these, a request says what a thing is about, or gives it content.
_TOPIC_WORDS = "about that because saying regarding concerning for called named titled with"
TOPIC = frozenset(_TOPIC_WORDS.split())
_QUESTION_WORDS = (
    "is are was were do does did has have had there what which who whose where when why how"
)
QUESTIONS = frozenset(_QUESTION_WORDS.split())
# What a request gives to a tool, and not what it asks for: quoted, or with a digit.
_VALUE = re.compile(r'"[^"]*"|\S*(?:\d|@|://)\S*')


def without_values(query: str) -> str:
    """A request without the values that it names."""
    return _VALUE.sub(" ", query)


class Wish(NamedTuple):
    """One clause of a request.

    Attributes:
        weights: of its concepts.
        head: the concepts before its topic.
        action: what an order wants done; None if it is no order.
        action_stems: of the action's own words.
        objects: the other concepts of the head.
    """

    weights: Mapping[Concept, float]
    head: Sequence[Concept]
    action: Concept | None
    action_stems: Set[str]
    objects: Sequence[Concept]


def make_wish(
    concepts: Sequence[Concept],
    weights: Mapping[Concept, float],
    stems: Mapping[str, str],
    words: Sequence[str],
) -> Wish:
    """Tell apart what a request wants done, what it is done to, and what that is about.

    Args:
        concepts: of the whole request or of one clause, in its order.
        weights: of those that a tool may have words for.
        stems: of words.
        words: of the whole request, as many as are looked at.
    """
    numbers = {word: at for at, word in reversed([*enumerate(words)])}
    places = [numbers.get(concept.words.split()[0], len(words)) for concept in concepts]
    start = min(places, default=len(words))
    topics = (at for at in range(start + 1, len(words)) if words[at] in TOPIC)
    end = next(topics, len(words) + 1)
    head = [
        concept
        for concept, place in zip(concepts, places, strict=True)
        if place < end and concept in weights
    ]
    if start == len(words) or not _is_order(concepts[0], words, start):
        return Wish(weights, head, None, frozenset(), ())
    action = concepts[0]
    own = (word for word in action.words.split() if word not in STOP_WORDS)
    objects = [concept for concept in head if concept is not action]
    return Wish(weights, head, action, frozenset(stems[word] for word in own), objects)


def _is_order(first: Concept, words: Sequence[str], start: int) -> bool:
    """True if a request begins with a verb, after which a determiner is."""
    before = words[:start]
    if not STOP_WORDS.issuperset(before) or not QUESTIONS.isdisjoint([*before, words[start]]):
        return False
    own = first.words.split()
    last = start
    while last + 1 < len(words) and words[last + 1] in own:
        last += 1
    return not DETERMINERS.isdisjoint(words[last : last + 2])


def find_fit(wish: Wish, profile: ToolStems, effect: str) -> float:
    """The share of what is asked that a tool has words for; 1 if nothing can be told."""
    worths = {concept: find_worth(concept, profile.everything) for concept in wish.weights}
    fit = max(_share(wish.weights, wish.weights, worths), _share(wish.head, wish.weights, worths))
    if wish.action is None:
        return fit
    lacks_objects = wish.objects and all(worths[thing] < LEAST_WORTH for thing in wish.objects)
    if lacks_objects or not _does(wish.action, wish.action_stems, profile, effect):
        return fit * PARTIAL_FIT
    return fit


def _does(action: Concept, own: Set[str], profile: ToolStems, effect: str) -> bool:
    """True if a tool's name says that it does this, or its description in the same words."""
    if effect == "read" and not READS.isdisjoint(action.worths):
        return True
    fields = profile.fields
    return (
        fields["description"].keys() >= own
        or any(fields["name"].keys() >= {*term} for term in action.double)
        or any(find_worth(action, fields[each].keys()) >= LEAST_WORTH for each in ("name", "title"))
    )


def _share(
    concepts: Sequence[Concept] | Mapping[Concept, float],
    weights: Mapping[Concept, float],
    worths: Mapping[Concept, float],
) -> float:
    total = sum(weights[concept] for concept in concepts)
    share = sum(weights[c] * worths[c] for c in concepts if worths[c] >= LEAST_WORTH)
    return share / total if total else 1.0
