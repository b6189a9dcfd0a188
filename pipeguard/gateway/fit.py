"""The fit of a tool to a request: the share of it that the tool has words for.

Knows a request's concepts and a tool's stems, and no ranking. A request such as "delete the file"
is an order. A tool fits it if it has words for the action and for its object: another tool for
files does not.
"""

import re
from collections.abc import Mapping, Sequence, Set
from itertools import takewhile
from math import sqrt
from typing import NamedTuple

from pipeguard.gateway.concepts import DETERMINERS, Concept, ToolStems, find_worth
from pipeguard.gateway.neighbours import ACTIONS, STOP_WORDS

LEAST_WORTH = 0.39  # of a word that counts: a synonym does, few neighbours do
MOST_WEIGHT = 8.5  # of a request, about four words; most words of a long one are not its subject
LEAST_FIT = 0.225  # of the best of the first tools; below, perhaps no tool is meant
NAMED_FIT = 0.6  # of a fit, times the share of the tool's name that the request explains
PARTIAL_FIT = 0.4  # of a tool that lacks an order's action, or all of its objects
READS = frozenset(("get", "list", "read", "show", "view"))
# After these, a request names a thing's topic, place or content.
_TOPIC_WORDS = "about that because saying regarding concerning for called named titled with in of"
TOPIC = frozenset(_TOPIC_WORDS.split())
_QUESTION_WORDS = (
    "is are was were do does did has have had there what which who whose where when why how"
)
QUESTIONS = frozenset(_QUESTION_WORDS.split())
# Arguments, not search words: quoted text, words with digits, paths, names and days.
_VALUE = re.compile(
    r'"[^"]*"|(?<!\S)\S*(?:[\d@]|(?<!\w)/|\w\.\w)\S*|\b(?:yesterday|today|tonight|tomorrow)\b', re.I
)


def without_values(query: str) -> str:
    """A request without the values in it."""
    return _VALUE.sub(" ", query)


class Wish(NamedTuple):
    """One clause of a request.

    Attributes:
        weights: of its concepts, in their order.
        head: the number of concepts before its topic.
        action: the action that an order demands; None if it is not an order.
        action_stems: of the action's own words.
    """

    weights: Mapping[Concept, float]
    head: int
    action: Concept | None = None
    action_stems: Set[str] = frozenset()


def make_wish(
    concepts: Sequence[Concept],
    weights: Mapping[Concept, float],
    stems: Mapping[str, str],
    words: Sequence[str],
) -> Wish:
    """Split a request into its action, its object and the object's topic.

    Args:
        concepts: of the whole request or of one clause, in its order.
        weights: of those that a tool may have words for.
        stems: of words.
        words: of the whole request, up to the limit.
    """
    if 2 * sum(each.is_known for each in concepts) < len(concepts):
        return Wish({}, 0)  # in another language; its few words that are English say nothing
    first = concepts[0].words.split() if concepts else [""]
    if first[0] not in words:
        return Wish(weights, len(weights))
    start = words.index(first[0])
    before = {first[0], *takewhile(lambda word: word not in TOPIC, words[start + 1 :])}
    named = takewhile(lambda concept: concept.words.split()[0] in before, weights)
    head = sum(1 for _ in named)
    if not _is_order(first, words, start):
        return Wish(weights, head)
    own = frozenset(stems[word] for word in first if word not in STOP_WORDS)
    return Wish(weights, head, concepts[0], own)


def _is_order(first: Sequence[str], words: Sequence[str], start: int) -> bool:
    """True if a request begins with a common action, or a word before a determiner."""
    before = words[:start]
    if not STOP_WORDS.issuperset(before) or not QUESTIONS.isdisjoint([*before, words[start]]):
        return False
    after = next((at for at in range(start, len(words)) if words[at] not in first), start)
    return words[start] in ACTIONS or not DETERMINERS.isdisjoint(words[after - 1 : after + 1])


def find_fit(wish: Wish, profile: ToolStems, effect: str) -> float:
    """The share of a request that a tool has words for; 1 if it cannot be measured."""
    total = share = fit = 0.0
    things = []
    for place, (concept, weight) in enumerate(wish.weights.items(), 1):
        worth = find_worth(concept, profile.everything)
        total += weight
        if worth >= LEAST_WORTH:
            share += weight * sqrt(worth)  # a synonym is nearly the word itself
        if place <= wish.head and concept is not wish.action:
            things.append(worth >= LEAST_WORTH)
        if place == wish.head:
            fit = share / min(total, MOST_WEIGHT)
    fit = min(1.0, max(fit, share / min(total, MOST_WEIGHT))) if total else 1.0
    if wish.action is None:
        return fit
    if (things and not any(things)) or not _does(wish.action, wish.action_stems, profile, effect):
        return fit * PARTIAL_FIT
    return fit


def _does(action: Concept, own: Set[str], profile: ToolStems, effect: str) -> bool:
    """True if a tool's name expresses this action, or its description in the same words."""
    if effect == "read" and not READS.isdisjoint(action.worths):
        return True
    fields = profile.fields
    return (
        fields["description"].keys() >= own
        or fields["parameters"].keys() >= own  # the values of a parameter are such words, too
        or any(fields["name"].keys() >= {*term} for term in action.double)
        or any(find_worth(action, fields[each].keys()) >= LEAST_WORTH for each in ("name", "title"))
    )
