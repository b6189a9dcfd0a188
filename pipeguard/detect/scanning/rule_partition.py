"""The division of rules among engines and databases. Knows no engine itself.

There is an engine for each surface. A rule for several surfaces is run over all of them by one
engine, so that it is compiled once. Only credentials are in two: texts to a client are read by
one engine, which therefore has credentials of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain

from pipeguard.detect.rules.rule import Leaving, Rule, View
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
    """The rules of one engine, each with only the surfaces that this engine runs it over."""
    surfaces_by_kind: dict[tuple[frozenset[Surface], bool], frozenset[Surface]] = {}
    for rule in rules:
        kind = rule.surfaces, rule.is_private
        surfaces = surfaces_by_kind.get(kind)
        if surfaces is None:
            surfaces = frozenset(
                over for over in rule.surfaces if choose_engine(rule, over) is engine
            )
            surfaces_by_kind[kind] = surfaces
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
        """Store where the rules of all engines are read from.

        Args:
            read: reads them.
            engine: the surface that the engine is for.
            surfaces: that this engine runs rules over; None to read the rules for that.
        """
        self.engine = engine
        self._read = read
        self._surfaces = surfaces

    @cached_property
    def all(self) -> tuple[Rule, ...]:
        """Every rule of the engine, in the order in which they are read."""
        return tuple(select_rules(self._read(), self.engine))

    @property
    def surfaces(self) -> frozenset[Surface]:
        """The surfaces that any of the rules is run over."""
        if self._surfaces is None:
            self._surfaces = frozenset(over for rule in self.all for over in rule.surfaces)
        return self._surfaces

    @cached_property
    def plain(self) -> tuple[Rule, ...]:
        """The rules for texts with their spaces, in the order of their patterns."""
        return tuple(chain(*in_groups(self.all)))

    @cached_property
    def squeezed_rules(self) -> tuple[Rule, ...]:
        """The rules for texts without spaces, in the order of their patterns."""
        return tuple(rule for rule in self.all if squeezed_pattern(rule)[0])

    @cached_property
    def with_classifier(self) -> tuple[Rule, ...]:
        """The rules that have a classifier."""
        return tuple(rule for rule in self.all if rule.model)

    @cached_property
    def over_acts(self) -> tuple[Rule, ...]:
        """The rules for what arguments do, in the order of their patterns."""
        return tuple(rule for rule in self.all if View.ACTS in rule.views)


def in_groups(rules: Sequence[Rule]) -> tuple[list[Rule], list[Rule], list[Rule]]:
    """The rules for texts with spaces, as they are compiled: private ones, and the others.

    In the middle private ones for what leaves alone: so the first are those of two engines, and
    are compiled once.
    """
    plain = list(filter(_is_plain, rules))
    private = [rule for rule in plain if rule.is_private]
    return (
        [rule for rule in private if rule.leaving is not Leaving.ONLY],
        [rule for rule in private if rule.leaving is Leaving.ONLY],
        [rule for rule in plain if not rule.is_private],
    )


def _is_plain(rule: Rule) -> bool:
    return bool(rule.pattern) and not rule.views <= {View.SQUEEZED, View.ACTS}


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
