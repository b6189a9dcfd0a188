"""Which rules an engine runs, and which of them are compiled together. Knows no engine.

Every rule has a home: the engine that holds it, whatever it is run over. What goes to a client is
read by one engine, which therefore has credentials of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain

from pipeguard.core.protocol.places import Surface
from pipeguard.core.rules.rule import Rule, View


def home(rule: Rule, surface: Surface) -> Surface:
    """The engine that runs a rule over a surface that it is made for."""
    if surface is Surface.TO_CLIENT and rule.is_private:
        return surface
    if Surface.TO_SERVER in rule.surfaces:
        return Surface.TO_SERVER
    return Surface.TO_CLIENT if Surface.TO_CLIENT in rule.surfaces else Surface.DEFINITIONS


def residents(rules: Iterable[Rule], engine: Surface) -> Iterator[Rule]:
    """The rules of one engine, each with those of its surfaces that it is run over there."""
    known: dict[tuple[frozenset[Surface], bool], frozenset[Surface]] = {}
    for rule in rules:
        kind = rule.surfaces, rule.is_private
        surfaces = known.get(kind)
        if surfaces is None:
            surfaces = frozenset(over for over in rule.surfaces if home(rule, over) is engine)
            known[kind] = surfaces
        if surfaces == rule.surfaces:
            yield rule
        elif surfaces:
            views = rule.views if engine is Surface.TO_SERVER else rule.views - {View.SQUEEZED}
            yield rule._replace(surfaces=surfaces, views=views)


class Residents:
    """The rules of one engine, read when one of them is first asked for.

    Attributes:
        surface: whose home it is.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[Rule]],
        surface: Surface,
        surfaces: frozenset[Surface] | None = None,
    ) -> None:
        """Know where rules are read from, and maybe already what they are run over."""
        self.surface = surface
        self._read = read
        self._surfaces = surfaces

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """All of them, in the order in which they were given."""
        return tuple(residents(self._read(), self.surface))

    @property
    def surfaces(self) -> frozenset[Surface]:
        """All that any of them is run over."""
        if self._surfaces is None:
            self._surfaces = frozenset(over for rule in self.rules for over in rule.surfaces)
        return self._surfaces

    @cached_property
    def looked_for(self) -> tuple[Rule, ...]:
        """Those that are run over texts as they are, in the order of their patterns."""
        return tuple(chain(*in_groups(self.rules)))

    @cached_property
    def squeezable(self) -> tuple[Rule, ...]:
        """Those that are run over texts without spaces, in the order of their patterns."""
        return tuple(rule for rule in self.rules if squeezed_pattern(rule)[0])

    @cached_property
    def classifying(self) -> tuple[Rule, ...]:
        """Those that have a classifier."""
        return tuple(rule for rule in self.rules if rule.model)

    @cached_property
    def acting(self) -> tuple[Rule, ...]:
        """Those that are run over what arguments do, in the order of their patterns."""
        return tuple(rule for rule in self.rules if View.ACTS in rule.views)


def _is_plain(rule: Rule) -> bool:
    """True where a rule is run over a text with its spaces."""
    return bool(rule.pattern) and not rule.views <= {View.SQUEEZED, View.ACTS}


def in_groups(rules: Sequence[Rule]) -> tuple[list[Rule], list[Rule]]:
    """The rules that are compiled together: those for credentials and the like, and the others."""
    plain = list(filter(_is_plain, rules))
    return (
        [rule for rule in plain if rule.is_private],
        [rule for rule in plain if not rule.is_private],
    )


_SPACE_TOKEN = re.compile(
    r"(?:\\s|(?<!\\) |\[(?:[^\]\\]|\\.)*\\s(?:[^\]\\]|\\.)*\])(?:\{[0-9,]*\}|[+*?])?\??"
)


def squeezed_pattern(rule: Rule) -> tuple[str, bool]:
    """The rule's pattern for a text without spaces; empty where it is not run over one."""
    if View.SQUEEZED not in rule.views:
        return "", False
    pattern = rule.pattern
    if not rule.is_private:
        pattern = _SPACE_TOKEN.sub(lambda m: m[0] if m[0].startswith("[^") else "", pattern)
        pattern = pattern.replace("\\b", "")
    return pattern, rule.ignore_case
