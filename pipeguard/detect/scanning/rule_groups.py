"""The assignment of rules to engines and databases."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from operator import attrgetter

from pipeguard.detect.matching.pattern_set import unbound
from pipeguard.detect.rules.rule import Leaving, Rule, Rules, View
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.places import Surface


def choose_engine(rule: Rule, surface: Surface) -> Surface:
    """The engine that runs a rule over one of the rule's surfaces."""
    if surface is Surface.TO_CLIENT and rule.is_private:
        return surface
    if Surface.TO_SERVER in rule.surfaces:
        return Surface.TO_SERVER
    return Surface.TO_CLIENT if Surface.TO_CLIENT in rule.surfaces else Surface.DEFINITIONS


def select_rules(rules: Iterable[Rule], engine: Surface) -> Iterator[Rule]:
    """The rules of one engine, each with only its surfaces in this engine."""
    surfaces_by_kind: dict[tuple[frozenset[Surface], bool], frozenset[Surface]] = {}
    for rule in rules:
        kind = rule.surfaces, rule.is_private
        surfaces = surfaces_by_kind.get(kind)
        if surfaces is None:
            surfaces = surfaces_by_kind[kind] = frozenset(
                over for over in rule.surfaces if choose_engine(rule, over) is engine
            )
        if surfaces == rule.surfaces:
            yield rule
        elif surfaces:
            views = rule.views if engine is Surface.TO_SERVER else rule.views - {View.SQUEEZED}
            yield rule._replace(surfaces=surfaces, views=views)


class EngineRules:
    """The rules of one engine, read when one of them is first needed.

    Attributes:
        engine: the surface that the engine is for.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[Rule]],
        engine: Surface,
        surfaces: frozenset[Surface] | None = None,
    ) -> None:
        """Store the source of the rules of all engines.

        Args:
            read: reads them.
            engine: the surface that the engine is for.
            surfaces: the surfaces of this engine's rules; None to compute them from the rules.
        """
        self.engine = engine
        self._read = read
        self._surfaces = surfaces

    @cached_property
    def all(self) -> Rules:
        """All rules of the engine, in the order in which they are read, the user's own last."""
        return tuple(sorted(select_rules(self._read(), self.engine), key=attrgetter("own")))

    @property
    def are_read(self) -> bool:
        """True once a rule was needed."""
        return "all" in vars(self)

    @property
    def surfaces(self) -> frozenset[Surface]:
        """The surfaces of all the rules."""
        if self._surfaces is None:
            self._surfaces = frozenset(over for rule in self.all for over in rule.surfaces)
        return self._surfaces

    @cached_property
    def plain(self) -> Rules:
        """The rules for texts with their spaces, in the order of their patterns."""
        return tuple(chain(*in_groups(self.all)))

    @cached_property
    def squeezed_rules(self) -> Rules:
        """The rules for texts without spaces, in the order of their patterns."""
        return tuple(rule for rule in self.all if squeezed_pattern(rule)[0])

    @cached_property
    def with_classifier(self) -> Rules:
        """The rules that have a classifier."""
        return tuple(rule for rule in self.all if rule.model)

    @cached_property
    def over_acts(self) -> Rules:
        """The rules for the effects of arguments, in the order of their patterns."""
        return tuple(rule for rule in self.all if View.ACTS in rule.views)


def in_groups(rules: Sequence[Rule]) -> list[list[Rule]]:
    """The rules for texts with spaces, as they are compiled: private ones, others, the user's own.

    Those of two engines come first, and are compiled once; the first are seed phrases, which C
    finds. Private ones for leaving data follow, in two groups, which takes half the time. Rules for
    what a server asks its client, and for decoded text only, are apart: a result asks nothing, and
    most texts decode to nothing. An edit of the user's own recompiles no other group.
    """
    own = [rule for rule in rules if rule.own and _is_plain(rule)]
    plain = [rule for rule in rules if not rule.own and _is_plain(rule)]
    phrases = [rule for rule in plain if "bip39" in rule.require]
    private = [rule for rule in plain if rule.is_private and rule not in phrases]
    leaving = [rule for rule in private if rule.leaving is Leaving.ONLY]
    return [
        phrases,
        [rule for rule in private if rule.leaving is not Leaving.ONLY],
        [rule for rule in leaving if not rule.places],
        [rule for rule in leaving if rule.places],
        [rule for rule in plain if not (rule.is_private or _is_rare(rule))],
        [rule for rule in plain if not rule.is_private and _is_rare(rule)],
        own,
    ]


def _is_plain(rule: Rule) -> bool:
    return bool(rule.pattern) and not rule.views <= {View.SQUEEZED, View.ACTS}


def _is_rare(rule: Rule) -> bool:
    return rule.is_for_asking or View.TEXT not in rule.views


def plain_pattern(rule: Rule) -> tuple[str, bool]:
    """The pattern for finding a rule's matches in texts with spaces, with `ignore_case`."""
    pattern = rule.sign or rule.pattern
    if rule.is_private or rule.sign:
        pattern = unbound(pattern)
    return pattern, rule.ignore_case


_SPACE_TOKEN = lazy_regex(
    r"(?:\\s|(?<!\\) |\[(?:[^\]\\]|\\.)*\\s(?:[^\]\\]|\\.)*\])(?:\{[0-9,]*\}|[+*?])?\??"
)


def squeezed_pattern(rule: Rule) -> tuple[str, bool]:
    """A rule's pattern for texts without spaces, with `ignore_case`; empty without such a view."""
    if View.SQUEEZED not in rule.views:
        return "", False
    pattern = rule.pattern
    if not rule.is_private:
        pattern = _SPACE_TOKEN.sub(lambda m: m[0] if m[0].startswith("[^") else "", pattern)
        pattern = pattern.replace("\\b", "")
    return pattern, rule.ignore_case
