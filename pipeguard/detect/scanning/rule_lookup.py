"""Which rules and signs could match in a block of text, and what confirms a match.

Hyperscan databases say which patterns could match, in time linear in the block. The rules, their
own expressions and their classifiers are loaded when one of them is first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy

from pipeguard.detect.matching.confirm import Finder
from pipeguard.detect.matching.pattern_set import PatternSet
from pipeguard.detect.model.classifier import Classifier
from pipeguard.detect.model.opener import Opener
from pipeguard.detect.rules.rule import Rule
from pipeguard.detect.scanning.rule_partition import EngineRules, squeezed_pattern


class RuleLookup:
    """The rules of one engine, ready to run. One thread at a time may use it.

    Attributes:
        rules: the rules.
        plain: patterns for texts with their spaces: signs first, then rules.
        squeezed: patterns for texts without spaces: rules first, then signs.
        acts: patterns for the lines that say what arguments do.
        opener: says what a classifier reads; None if no rule has a classifier.
    """

    def __init__(
        self,
        rules: EngineRules,
        patterns: tuple[PatternSet, PatternSet, PatternSet, Opener | None],
        signs: tuple[Sequence[str], Sequence[str]],
        load_classifier: Callable[[Rule], Classifier],
    ) -> None:
        """Store the rules and their compiled patterns.

        Args:
            rules: the rules.
            patterns: `plain`, `squeezed`, `acts` and `opener`.
            signs: the names of the signs in `plain` and in `squeezed`, in their order there.
            load_classifier: reads the classifier of a rule.
        """
        self.rules = rules
        self.plain, self.squeezed, self.acts, self.opener = patterns
        self._signs, self._squeezed_signs = signs
        self._load_classifier = load_classifier
        self._classifiers: dict[str, Classifier] = {}
        self._finders: dict[tuple[str, bool], Finder] = {}

    def clone(self) -> RuleLookup:
        """The same rules for another thread."""
        other = copy(self)
        other.plain = self.plain.share()
        other.squeezed = self.squeezed.share()
        other.acts = self.acts.share()
        return other

    def look(self, data: bytes, *, squeezed: bool) -> tuple[list[str], list[Rule]]:
        """The signs in a block, and the rules that could match in it."""
        return self._look_squeezed(data) if squeezed else self.named(self.plain.look(data))

    def named(self, hits: Iterable[int]) -> tuple[list[str], list[Rule]]:
        """The signs and the rules of patterns of `plain`."""
        signs: list[str] = []
        rules: list[Rule] = []
        count = len(self._signs)
        for index in sorted(hits):  # in the order of the rules
            if index < count:
                signs.append(self._signs[index])
            else:
                rules.append(self.rules.plain[index - count])
        return signs, rules

    def _look_squeezed(self, data: bytes) -> tuple[list[str], list[Rule]]:
        rules = self.rules.squeezed
        hits = sorted(self.squeezed.look(data))
        signs = [self._squeezed_signs[index - len(rules)] for index in hits if index >= len(rules)]
        return signs, [rules[index] for index in hits if index < len(rules)]

    def look_at_acts(self, data: bytes) -> list[Rule]:
        """The rules that could match in the lines that say what arguments do."""
        return [self.rules.over_acts[index] for index in self.acts.look(data)]

    def finder(self, rule: Rule, *, squeezed: bool) -> Finder:
        """What finds the matches of the rule's own expression."""
        key = (rule.id, squeezed)
        if key not in self._finders:
            pattern = squeezed_pattern(rule)[0] if squeezed else rule.pattern
            self._finders[key] = Finder(pattern, ignore_case=rule.ignore_case)
        return self._finders[key]

    def classifier(self, rule: Rule) -> Classifier:
        """The classifier of a rule.

        Raises:
            EngineError: its file is not the one that the rule names, or no classifier.
        """
        classifier = self._classifiers.get(rule.id)
        if classifier is None:
            classifier = self._classifiers[rule.id] = self._load_classifier(rule)
        return classifier
